# The plugins that come with the host.

plugindir = $(pkglibdir)/plugins
noinst_LTLIBRARIES += plugins/libask.la
plugin_LTLIBRARIES = \
	plugins/ask.la \
	plugins/chat.la \
	plugins/echo.la \
	plugins/ticker.la

# libtool's own files are no plugins. Without them, libtool removes only themselves.
install-data-hook:
	cd '$(DESTDIR)$(plugindir)' && rm -f $(notdir $(plugin_LTLIBRARIES))
uninstall-hook:
	cd '$(DESTDIR)$(plugindir)' 2>/dev/null && rm -f $(notdir $(plugin_LTLIBRARIES:.la=.so)) || :

PLUGIN_CPPFLAGS = \
	-I$(builddir)/include \
	$(CJSON_CFLAGS) \
	$(HARDEN_CPPFLAGS)
PLUGIN_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
PLUGIN_LDFLAGS = \
	$(AM_LDFLAGS) \
	-module \
	-avoid-version \
	-shared \
	-no-undefined \
	-Wl,-z,now \
	-Wl,--exclude-libs,ALL \
	-Wl,-Bsymbolic
if !SANITIZED
PLUGIN_LDFLAGS += \
	-export-symbols-regex '^agent_plugin_entry$$' \
	-Wl,-z,defs
endif

# As an author links it; libtool does not take an archive by its file name.
LLM_LIBS = \
	-L$(builddir) \
	-lsluice-llm \
	$(CJSON_LIBS)

# What `ask` answers from, unless it is told otherwise.
ASK_DOCUMENTS = $(docdir):$(sdkdir)

plugins_libask_la_SOURCES = \
	plugins/answer.c \
	plugins/answer.h \
	plugins/document.c \
	plugins/document.h \
	plugins/index.c \
	plugins/index.h \
	plugins/markdown.c \
	plugins/markdown.h \
	plugins/markup.c \
	plugins/markup.h \
	plugins/passage.c \
	plugins/passage.h \
	plugins/roff.c \
	plugins/roff.h \
	plugins/text.c \
	plugins/text.h \
	plugins/words.c \
	plugins/words.h
plugins_libask_la_CPPFLAGS = \
	$(PLUGIN_CPPFLAGS) \
	$(SQLITE_CFLAGS) \
	$(ZLIB_CFLAGS) \
	$(MD4C_CFLAGS)
plugins_libask_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_libask_la_LIBADD = \
	$(SQLITE_LIBS) \
	$(ZLIB_LIBS) \
	$(MD4C_LIBS) \
	$(UNISTRING_LIBS) \
	-lm \
	-lpthread

plugins_ask_la_SOURCES = \
	plugins/ask.c \
	plugins/prompt.c \
	plugins/prompt.h
plugins_ask_la_CPPFLAGS = \
	$(PLUGIN_CPPFLAGS) \
	-DASK_DOCUMENTS='"$(ASK_DOCUMENTS)"'
plugins_ask_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_ask_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_ask_la_LIBADD = \
	plugins/libask.la \
	$(LLM_LIBS)
EXTRA_plugins_ask_la_DEPENDENCIES = libsluice-llm.a

plugins_chat_la_SOURCES = \
	plugins/chat.c \
	plugins/tools.c \
	plugins/tools.h
plugins_chat_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
plugins_chat_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_chat_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_chat_la_LIBADD = \
	plugins/libask.la \
	$(LLM_LIBS)
EXTRA_plugins_chat_la_DEPENDENCIES = libsluice-llm.a

plugins_echo_la_SOURCES = plugins/echo.c
plugins_echo_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
plugins_echo_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_echo_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_echo_la_LIBADD = $(CJSON_LIBS)

plugins_ticker_la_SOURCES = plugins/ticker.c
plugins_ticker_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
plugins_ticker_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_ticker_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_ticker_la_LIBADD = $(CJSON_LIBS)

EXTRA_DIST += plugins/demo.sh
