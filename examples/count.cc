/*
 * count - an agent in C++20: it counts the words of a text.
 *
 *     c++ -std=c++20 -shared -fPIC count.cc -o count.so \
 *         $(pkg-config --cflags --libs sluice libcjson)
 *     sluice run count.so '{"text":"to be or not to be"}'
 */
#include <sluice/agent_json.h>

#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

namespace
{
std::map<std::string, int> count(std::istream &text)
{
    std::map<std::string, int> words;

    for (std::string word; text >> word;)
        words[word]++;
    return words;
}

void answer(const char *input)
{
    std::unique_ptr<cJSON, decltype(&cJSON_Delete)> json(agent_json_parse(input), cJSON_Delete);
    const char *text = agent_json_string(json.get(), "text", nullptr);

    if (text == nullptr)
        throw std::invalid_argument("send {\"text\":\"...\"}");
    std::istringstream stream(text);
    for (const auto &[word, times] : count(stream)) {
        std::unique_ptr<cJSON, decltype(&cJSON_Delete)> event(cJSON_CreateObject(), cJSON_Delete);
        cJSON_AddStringToObject(event.get(), "word", word.c_str());
        cJSON_AddNumberToObject(event.get(), "times", times);
        std::unique_ptr<char, decltype(&cJSON_free)> data(cJSON_PrintUnformatted(event.get()),
                                                          cJSON_free);
        if (emit_event("word", data.get()) < 0)
            return;
    }
}

int handle(void *, const char *input)
{
    try { /* an exception must not leave handle() */
        answer(input);
        return 0;
    } catch (const std::exception &error) {
        return agent_run_fail("bad_input", "%s", error.what());
    }
}
} // namespace

AGENT_PLUGIN(.name = "count", .version = "1.0", .handle = handle)
