# What authors include, and how they find it.

sdkdir = $(includedir)/sluice
sdk_HEADERS = \
	sdk/agent.h \
	sdk/agent_http.h \
	sdk/agent_json.h \
	sdk/agent_llm.h \
	sdk/agent_sse.h \
	sdk/agent_test.h
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = \
	sdk/sluice.pc \
	sdk/sluice-test.pc
