# What authors include and link, and how they find it.

sdkdir = $(includedir)/sluice
sdk_HEADERS = \
	sdk/agent.h \
	sdk/agent_http.h \
	sdk/agent_json.h \
	sdk/agent_llm.h \
	sdk/agent_sse.h \
	sdk/agent_test.h
cmakedir = $(libdir)/cmake/sluice
cmake_DATA = \
	sdk/sluice-config.cmake \
	sdk/sluice-config-version.cmake
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = \
	sdk/sluice.pc \
	sdk/sluice-llm.pc \
	sdk/sluice-test.pc

# The functions of agent_llm.h and agent_sse.h, linked into each plugin that calls them: position
# independent and hidden, because a plugin exports one symbol.
lib_LIBRARIES += libsluice-llm.a
libsluice_llm_a_SOURCES = \
	sdk/llm/call.c \
	sdk/llm/chat.c \
	sdk/llm/conversation.c \
	sdk/llm/error.c \
	sdk/llm/exchange.h \
	sdk/llm/request.c \
	sdk/llm/stream.c \
	sdk/llm/text.c \
	sdk/llm/tools.c \
	sdk/sse.c
libsluice_llm_a_AR = $(AR) cr
libsluice_llm_a_CPPFLAGS = $(PLUGIN_CPPFLAGS)
libsluice_llm_a_CFLAGS = \
	$(PLUGIN_CFLAGS) \
	-fPIC
