// The benchmark's agents with Go's net/http: a goroutine for each run. What has to wait flushes
// first; the rest is left to net/http's buffer. Go itself raises the limit of open files.
//
//	GO111MODULE=off go build -o server-go tests/bench/peers/server.go && ./server-go PORT
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

type input struct {
	Events   int
	Interval time.Duration `json:"interval_ms"`
	URL      string
}

func tick(w http.ResponseWriter, r *http.Request, in input) error {
	var due <-chan time.Time
	if in.Interval > 0 {
		ticker := time.NewTicker(in.Interval * time.Millisecond)
		defer ticker.Stop()
		due = ticker.C
	}
	for n := 1; n <= in.Events; n++ {
		if due != nil {
			w.(http.Flusher).Flush()
			select {
			case <-due:
			case <-r.Context().Done():
				return r.Context().Err()
			}
		}
		if _, err := fmt.Fprintf(w, "id: %d\nevent: token\ndata: {\"n\":\"%07d\",\"t\":\"%d\",\"pad\":\"xxxxxxxxxxxxxxxxx\"}\n\n",
			n, n, time.Now().UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

var client = http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 20000}}

func relay(w http.ResponseWriter, r *http.Request, in input) error {
	request, err := http.NewRequestWithContext(r.Context(), "GET", in.URL, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	line, err := lines.ReadSlice('\n')
	for n := 1; err == nil; n++ {
		fmt.Fprintf(w, "id: %d\nevent: token\ndata: %s\n", n, line)
		if lines.Buffered() == 0 {
			w.(http.Flusher).Flush()
		}
		line, err = lines.ReadSlice('\n')
	}
	if err != io.EOF {
		return err
	}
	return nil
}

func serve(path string, agent func(http.ResponseWriter, *http.Request, input) error) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		var in input
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		if agent(w, r, in) == nil {
			io.WriteString(w, "event: done\ndata: {\"status\":\"finished\"}\n\n")
		}
	})
}

func main() {
	serve("/agents/tick/runs", tick)
	serve("/agents/relay/runs", relay)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
