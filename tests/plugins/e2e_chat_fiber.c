/* e2e_chat in fiber mode. */
#define CHAT_MODE AGENT_FIBER
#define CHAT_NAME "e2e_chat_fiber"
#include "e2e_chat.c"
