/* A plugin that is built twice: its NAME_fiber.so is compiled with -DPLUGIN_MODE=AGENT_FIBER. */
#ifndef MODE_H
#define MODE_H

#ifdef PLUGIN_MODE
#define PLUGIN_NAME(name) name "_fiber"
#else
#define PLUGIN_MODE       AGENT_THREAD
#define PLUGIN_NAME(name) name
#endif

#endif
