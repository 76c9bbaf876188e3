/*
 * fault_cxx: a plugin in C++ with static and thread_local objects, whose
 * destructors write to the log and emit, which must fail. {"how":"throw"}
 * lets an exception leave handle().
 */
#include <sluice/agent.h>

#include <cstring>
#include <stdexcept>
#include <string>

namespace
{

struct Noisy {
    std::string name;

    explicit Noisy(const char *what) : name(what)
    {
    }
    ~Noisy()
    {
        int status = emit_text("late");
        agent_log(AGENT_LOG_INFO, "%s is destroyed: emit_text() says %d", name.c_str(), status);
    }
};

Noisy of_file("the static object of the file");
thread_local Noisy of_thread("the thread_local object");

int handle(void *, const char *input)
{
    static Noisy of_function("the static object of the function");

    emit_text((of_function.name.empty() ? "" : "fine"));
    of_thread.name += "";
    if (std::strstr(input, "\"throw\""))
        throw std::runtime_error("thrown by fault_cxx");
    return 0;
}

} // namespace

AGENT_PLUGIN(.name = "fault_cxx", .version = "1.0", .handle = handle)
