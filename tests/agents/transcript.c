/* transcript: print what an agent does under the harness, for comparison with what it does under
 * the host.
 *
 *     transcript PLUGIN.so INPUT [CONFIG [WHAT THE CLIENT SAYS]...]
 */
#include <sluice/agent_test.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    struct agent_test *test = agent_test_open_file(argv[1], argc > 3 ? argv[3] : NULL);

    for (int i = 4; i < argc; i++)
        agent_test_input(test, 0, argv[i]);
    agent_test_run(test, argv[2]);
    fputs(agent_test_transcript(test), stdout);
    agent_test_close(test);
    return 0;
}
