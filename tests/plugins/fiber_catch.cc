/*
 * fiber_catch: runs that wait while they handle an exception.
 * {"number":N,"meet":M} throws N, waits in the catch block until M runs are
 * there, waits once more for N % 5 ms, and throws again what it handles. Its
 * result is {"inside":A,"outside":B}: what it handled behind the waiting, and
 * what it then caught; both must be N.
 */
#include <sluice/agent.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

namespace {

unsigned arrived;

unsigned number_of(const char *input, const char *key)
{
    const char *at = std::strstr(input, key);

    return at ? static_cast<unsigned>(std::strtoul(at + std::strlen(key), nullptr, 10)) : 0;
}

std::string handled()
{
    try {
        std::rethrow_exception(std::current_exception());
    } catch (const std::exception &error) {
        return error.what();
    }
}

int wait_for_others(unsigned meet)
{
    int status = 0;

    arrived++;
    while (arrived < meet && status == 0)
        status = agent_sleep(1);
    return status;
}

int handle(void *, const char *input)
{
    unsigned number = number_of(input, "\"number\": ");
    std::string inside, outside;
    char result[128];
    int status = 0;

    try {
        try {
            throw std::runtime_error(std::to_string(number));
        } catch (const std::runtime_error &) {
            status = wait_for_others(number_of(input, "\"meet\": "));
            if (status == 0)
                status = agent_sleep(number % 5);
            if (std::current_exception())
                inside = handled();
            throw;
        }
    } catch (const std::exception &error) {
        outside = error.what();
    }
    std::snprintf(result, sizeof result, "{\"inside\":\"%s\",\"outside\":\"%s\"}", inside.c_str(),
                  outside.c_str());
    run_result(result);
    return status;
}

}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fiber_catch", .version = "1.0", .handle = handle)
