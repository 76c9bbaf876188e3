// The benchmark's agents with Go's net/http: a goroutine for each run, and a flush behind each
// event, as an emitter does that cannot know when the next one comes. Go itself raises the limit
// of open files.
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

// must ends the run, and its connection, on an error.
func must[T any](value T, err error) T {
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return value
}

func emit(w http.ResponseWriter, n int, data string) {
	must(fmt.Fprintf(w, "id: %d\nevent: token\ndata: %s\n\n", n, data))
	w.(http.Flusher).Flush()
}

func tick(w http.ResponseWriter, r *http.Request, in input) {
	var due <-chan time.Time
	if in.Interval > 0 {
		ticker := time.NewTicker(in.Interval * time.Millisecond)
		defer ticker.Stop()
		due = ticker.C
	}
	for n := 1; n <= in.Events; n++ {
		if due != nil {
			select {
			case <-due:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		emit(w, n, fmt.Sprintf(`{"n":"%07d","t":"%d","pad":"xxxxxxxxxxxxxxxxx"}`, n, time.Now().UnixMicro()))
	}
}

var client = http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 20000}}

func relay(w http.ResponseWriter, r *http.Request, in input) {
	response := must(client.Do(must(http.NewRequestWithContext(r.Context(), "GET", in.URL, nil))))
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for n := 1; lines.Scan(); n++ {
		emit(w, n, lines.Text())
	}
	must(0, lines.Err())
}

func serve(path string, agent func(http.ResponseWriter, *http.Request, input)) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		var in input
		must(0, json.NewDecoder(r.Body).Decode(&in))
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		agent(w, r, in)
		io.WriteString(w, "event: done\ndata: {\"status\":\"finished\"}\n\n")
	})
}

func main() {
	serve("/agents/tick/runs", tick)
	serve("/agents/relay/runs", relay)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
