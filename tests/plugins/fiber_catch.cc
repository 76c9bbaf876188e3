/*
 * fiber_catch: runs that wait while they handle an exception.
 * {"number":N,"meet":M} throws N, waits in the catch block until M runs are
 * there, waits once more for N % 5 ms, and throws again what it handles. Its
 * result is {"inside":A,"outside":B}: what it handled behind the waiting, and
 * what it then caught; both must be N. {"tasks":T,"meet":M} does so in T tasks,
 * numbered from 0, while it handles an exception itself; its result is
 * {"right":R}, the number of those in which both were so.
 */
#include <sluice/agent.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

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

struct attempt {
    unsigned number;
    unsigned meet;
    std::string inside, outside;
};

int catch_and_wait(attempt &attempt)
{
    int status = 0;

    try {
        try {
            throw std::runtime_error(std::to_string(attempt.number));
        } catch (const std::runtime_error &) {
            status = wait_for_others(attempt.meet);
            if (status == 0)
                status = agent_sleep(attempt.number % 5);
            if (std::current_exception())
                attempt.inside = handled();
            throw;
        }
    } catch (const std::exception &error) {
        attempt.outside = error.what();
    }
    return status;
}

int one(const char *input)
{
    attempt attempt = {number_of(input, "\"number\": "), number_of(input, "\"meet\": "), "", ""};
    char result[128];
    int status = catch_and_wait(attempt);

    std::snprintf(result, sizeof result, "{\"inside\":\"%s\",\"outside\":\"%s\"}",
                  attempt.inside.c_str(), attempt.outside.c_str());
    run_result(result);
    return status;
}

int task(void *arg)
{
    attempt &attempt = *static_cast<struct attempt *>(arg);
    int status = catch_and_wait(attempt);
    std::string number = std::to_string(attempt.number);

    return status == 0 && attempt.inside == number && attempt.outside == number;
}

int count_right(unsigned count, unsigned meet)
{
    std::vector<attempt> attempts;
    std::vector<agent_task *> tasks(count);
    int right = 0;

    for (unsigned i = 0; i < count; i++)
        attempts.push_back({i, meet, "", ""});
    for (unsigned i = 0; i < count; i++)
        task_spawn(task, &attempts[i], &tasks[i]);
    for (unsigned i = 0; i < count; i++)
        right += task_join(tasks[i]);
    return right;
}

int several(unsigned count, unsigned meet)
{
    char result[64];
    int right = 0;

    try {
        throw std::runtime_error("mine");
    } catch (const std::runtime_error &) {
        right = count_right(count, meet);
        if (handled() != "mine")
            right = -1;
    }
    std::snprintf(result, sizeof result, "{\"right\":%d}", right);
    return run_result(result);
}

int handle(void *, const char *input)
{
    unsigned tasks = number_of(input, "\"tasks\": ");

    return tasks ? several(tasks, number_of(input, "\"meet\": ")) : one(input);
}

} // namespace

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fiber_catch", .version = "1.0", .handle = handle)
