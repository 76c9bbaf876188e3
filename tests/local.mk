# Tests: tests/unit and tests/agents are Check programs, tests/e2e are Python scripts.

# main() of every Check program; a new one is one word in check_PROGRAMS.
check_LTLIBRARIES = \
	tests/libcase.la \
	tests/libworker-checked.la
tests_libcase_la_SOURCES = \
	tests/case.c \
	tests/case.h

CASE_LIBS = \
	tests/libcase.la \
	$(CHECK_LIBS)

# The worker with assertions that its lock is held.
tests_libworker_checked_la_SOURCES = $(libworker_la_SOURCES)
tests_libworker_checked_la_CPPFLAGS = $(AM_CPPFLAGS) -DSCHED_CHECKS

tests_unit_test_sched_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS) -DSCHED_CHECKS

LDADD = \
	tests/libworker-checked.la \
	$(HOST_LIBS) \
	$(CASE_LIBS)

check_PROGRAMS = \
	tests/agents/test_chat \
	tests/agents/test_echo \
	tests/agents/test_fetch \
	tests/agents/test_harness \
	tests/agents/test_llm \
	tests/agents/test_tools \
	tests/unit/test_a2a_request \
	tests/unit/test_base \
	tests/unit/test_body \
	tests/unit/test_buf \
	tests/unit/test_capacity \
	tests/unit/test_chat_input \
	tests/unit/test_config \
	tests/unit/test_feed \
	tests/unit/test_elf \
	tests/unit/test_eventlog \
	tests/unit/test_fiber \
	tests/unit/test_framing \
	tests/unit/test_http \
	tests/unit/test_index \
	tests/unit/test_json \
	tests/unit/test_json_schema \
	tests/unit/test_log \
	tests/unit/test_log_fact \
	tests/unit/test_log_queue \
	tests/unit/test_lookup \
	tests/unit/test_mcp \
	tests/unit/test_native \
	tests/unit/test_pack \
	tests/unit/test_patience \
	tests/unit/test_queue \
	tests/unit/test_quota \
	tests/unit/test_refused \
	tests/unit/test_request \
	tests/unit/test_openai_request \
	tests/unit/test_protocols \
	tests/unit/test_proxies \
	tests/unit/test_ring \
	tests/unit/test_run_budget \
	tests/unit/test_run_cancel \
	tests/unit/test_run_credit \
	tests/unit/test_run_events \
	tests/unit/test_run_inputs \
	tests/unit/test_run_questions \
	tests/unit/test_run_kept \
	tests/unit/test_run_states \
	tests/unit/test_run_table \
	tests/unit/test_run_times \
	tests/unit/test_sched \
	tests/unit/test_sse \
	tests/unit/test_sse_check \
	tests/unit/test_tokens \
	tests/unit/test_vars \
	tests/unit/test_wheel \
	tests/unit/test_wire \
	tests/unit/test_worker_bind \
	tests/unit/test_worker_credit \
	tests/unit/test_worker_ctx \
	tests/unit/test_worker_emit \
	tests/unit/test_worker_ends \
	tests/unit/test_worker_asks \
	tests/unit/test_worker_inputs \
	tests/unit/test_worker_load \
	tests/unit/test_worker_requests \
	tests/unit/test_worker_scope \
	tests/unit/test_worker_sleep \
	tests/unit/test_worker_task_ends \
	tests/unit/test_worker_tasks

# What the tests of one family share.
REFUSALS = \
	tests/agents/refusals.c \
	tests/agents/refusals.h
RUN_FIXTURE = \
	tests/unit/run_fixture.c \
	tests/unit/run_fixture.h
WORKER_FIXTURE = \
	tests/unit/worker_fixture.c \
	tests/unit/worker_fixture.h
tests_unit_test_queue_SOURCES = $(RUN_FIXTURE) tests/unit/test_queue.c
tests_unit_test_refused_SOURCES = $(WORKER_FIXTURE) $(REFUSALS) tests/unit/test_refused.c
tests_unit_test_refused_CPPFLAGS = \
	$(AM_CPPFLAGS) \
	-I$(builddir)/include
tests_unit_test_run_budget_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_budget.c
tests_unit_test_run_cancel_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_cancel.c
tests_unit_test_run_credit_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_credit.c
tests_unit_test_run_events_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_events.c
tests_unit_test_run_inputs_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_inputs.c
tests_unit_test_run_questions_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_questions.c
tests_unit_test_run_kept_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_kept.c
tests_unit_test_run_states_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_states.c
tests_unit_test_run_table_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_table.c
tests_unit_test_run_times_SOURCES = $(RUN_FIXTURE) tests/unit/test_run_times.c
tests_unit_test_worker_bind_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_bind.c
tests_unit_test_worker_credit_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_credit.c
tests_unit_test_worker_ctx_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_ctx.c
tests_unit_test_worker_emit_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_emit.c
tests_unit_test_worker_ends_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_ends.c
tests_unit_test_worker_asks_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_asks.c
tests_unit_test_worker_inputs_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_inputs.c
tests_unit_test_worker_load_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_load.c
tests_unit_test_worker_requests_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_requests.c
tests_unit_test_worker_scope_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_scope.c
tests_unit_test_worker_sleep_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_sleep.c
tests_unit_test_worker_task_ends_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_task_ends.c
tests_unit_test_worker_tasks_SOURCES = $(WORKER_FIXTURE) tests/unit/test_worker_tasks.c

# Its runs_lookup() answers when a test says so.
tests_unit_test_lookup_LDFLAGS = \
	$(AM_LDFLAGS) \
	-Wl,--wrap=runs_lookup

tests_unit_test_sse_CPPFLAGS = \
	$(PLUGIN_CPPFLAGS) \
	$(CHECK_CFLAGS)
tests_unit_test_sse_LDADD = \
	libsluice-llm.a \
	$(CASE_LIBS) \
	$(CJSON_LIBS)

tests_unit_test_sse_check_SOURCES = \
	tests/bench/sse_check.c \
	tests/bench/sse_check.h \
	tests/unit/test_sse_check.c
tests_unit_test_sse_check_LDADD = $(CASE_LIBS)

tests_unit_test_index_CPPFLAGS = \
	$(AM_CPPFLAGS) \
	-I$(srcdir)/plugins
tests_unit_test_index_LDADD = \
	plugins/libask.la \
	$(CASE_LIBS)

# Each runs over tests/fuzz/corpus/NAME as a test. With --enable-fuzzers each is a fuzzer, which
# writes new inputs into the folder that is its first argument.
FUZZ_TARGETS = \
	tests/fuzz/fuzz_a2a \
	tests/fuzz/fuzz_chats \
	tests/fuzz/fuzz_config \
	tests/fuzz/fuzz_document \
	tests/fuzz/fuzz_events \
	tests/fuzz/fuzz_front \
	tests/fuzz/fuzz_json \
	tests/fuzz/fuzz_llm \
	tests/fuzz/fuzz_mcp \
	tests/fuzz/fuzz_openai \
	tests/fuzz/fuzz_request \
	tests/fuzz/fuzz_roff \
	tests/fuzz/fuzz_schema \
	tests/fuzz/fuzz_sse \
	tests/fuzz/fuzz_tokens \
	tests/fuzz/fuzz_wire
FUZZ_CPPFLAGS = \
	$(AM_CPPFLAGS) \
	-I$(srcdir)/plugins
# Seconds that `make fuzz` runs each for, and with which random numbers; 0: others each time. What
# it finds is in tests/fuzz/found.
FUZZ_SECONDS = 30
FUZZ_SEED = 0
if FUZZERS
noinst_PROGRAMS += $(FUZZ_TARGETS)
fuzz: $(FUZZ_TARGETS:tests/fuzz/%=fuzz-%)
fuzz-%: tests/fuzz/%
	@$(MKDIR_P) tests/fuzz/new/$* tests/fuzz/found
	@echo "  FUZZ     $*"
	@$< -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) -timeout=20 -max_len=1000 \
		-artifact_prefix=tests/fuzz/found/$*- tests/fuzz/new/$* \
		$(srcdir)/tests/fuzz/corpus/$* >tests/fuzz/found/$*.log 2>&1 || \
		{ tail -60 tests/fuzz/found/$*.log; exit 1; }
FUZZ_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer
FUZZ_MAIN = tests/fuzz/fuzz.h
else
check_PROGRAMS += $(FUZZ_TARGETS)
fuzz:
	@echo "fuzz: configure with --enable-fuzzers CC=clang CXX=clang++" >&2; exit 1
FUZZ_LINK = $(AM_LDFLAGS)
FUZZ_MAIN = tests/fuzz/fuzz.h tests/fuzz/replay.c
endif
tests_fuzz_fuzz_document_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_document.c
tests_fuzz_fuzz_document_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_fuzz_document_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_document_LDADD = plugins/libask.la
FUZZ_TERMS = tests/fuzz/terms.c tests/fuzz/terms.h
# What parses what comes from outside.
FUZZ_FRONT_LIBS = \
	libfront.la \
	libcommon.la \
	$(MICROHTTPD_LIBS) \
	$(GNUTLS_LIBS) \
	$(UV_LIBS) \
	$(CJSON_LIBS) \
	$(INIH_LIBS)
tests_fuzz_fuzz_a2a_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_a2a.c
tests_fuzz_fuzz_a2a_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_a2a_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_chats_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_chats.c
tests_fuzz_fuzz_chats_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_chats_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_config_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_config.c
tests_fuzz_fuzz_config_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_config_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_events_SOURCES = $(FUZZ_MAIN) $(FUZZ_TERMS) tests/fuzz/fuzz_events.c
tests_fuzz_fuzz_events_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_events_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_json_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_json.c
tests_fuzz_fuzz_json_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_json_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_openai_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_openai.c
tests_fuzz_fuzz_openai_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_openai_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_mcp_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_mcp.c
tests_fuzz_fuzz_mcp_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_mcp_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_request_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_request.c
tests_fuzz_fuzz_request_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_request_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_schema_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_schema.c
tests_fuzz_fuzz_schema_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_schema_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_tokens_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_tokens.c
tests_fuzz_fuzz_tokens_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_tokens_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_wire_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_wire.c
tests_fuzz_fuzz_wire_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_wire_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_llm_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_llm.c
tests_fuzz_fuzz_llm_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_llm_LDADD = \
	libsluice-llm.a \
	libcommon.la \
	$(CJSON_LIBS)
tests_fuzz_fuzz_sse_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_sse.c
tests_fuzz_fuzz_sse_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_sse_LDADD = \
	libsluice-llm.a \
	libcommon.la \
	$(CJSON_LIBS)
# The front, but for what these files define or wrap.
tests_fuzz_fuzz_front_SOURCES = \
	$(FUZZ_MAIN) \
	$(FUZZ_TERMS) \
	tests/fuzz/front_client.c \
	tests/fuzz/front_client.h \
	tests/fuzz/front_image.c \
	tests/fuzz/front_image.h \
	tests/fuzz/front_reader.c \
	tests/fuzz/front_reader.h \
	tests/fuzz/front_truth.c \
	tests/fuzz/front_truth.h \
	tests/fuzz/front_worker.c \
	tests/fuzz/front_worker.h \
	tests/fuzz/fuzz_front.c
tests_fuzz_fuzz_front_LDFLAGS = \
	$(FUZZ_LINK) \
	-Wl,--wrap=eventlog_append \
	-Wl,--wrap=eventlog_create \
	-Wl,--wrap=eventlog_destroy \
	-Wl,--wrap=getrandom \
	-Wl,--wrap=process_drain \
	-Wl,--wrap=process_quit \
	-Wl,--wrap=run_cancel \
	-Wl,--wrap=run_start \
	-Wl,--wrap=run_take_memory
tests_fuzz_fuzz_front_LDADD = $(FUZZ_FRONT_LIBS)
tests_fuzz_fuzz_roff_SOURCES = $(FUZZ_MAIN) tests/fuzz/fuzz_roff.c
tests_fuzz_fuzz_roff_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_fuzz_roff_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_roff_LDADD = plugins/libask.la

# Tests of agents, written and linked as an author does.
AGENT_TEST_LIBS = \
	libsluice-test.la \
	$(CJSON_LIBS) \
	$(CASE_LIBS)
tests_agents_test_chat_SOURCES = \
	plugins/chat.c \
	plugins/tools.c \
	tests/agents/test_chat.c
tests_agents_test_chat_CPPFLAGS = $(tests_agents_test_echo_CPPFLAGS)
tests_agents_test_chat_LDADD = \
	plugins/libask.la \
	libsluice-llm.a \
	$(AGENT_TEST_LIBS)
tests_agents_test_echo_SOURCES = \
	plugins/echo.c \
	tests/agents/test_echo.c
tests_agents_test_echo_CPPFLAGS = \
	$(PLUGIN_CPPFLAGS) \
	$(CHECK_CFLAGS)
tests_agents_test_echo_LDADD = $(AGENT_TEST_LIBS)
tests_agents_test_fetch_SOURCES = \
	tests/agents/fetch.c \
	tests/agents/test_fetch.c
tests_agents_test_fetch_CPPFLAGS = $(tests_agents_test_echo_CPPFLAGS)
tests_agents_test_fetch_LDADD = $(AGENT_TEST_LIBS)
tests_agents_test_tools_CPPFLAGS = $(tests_agents_test_echo_CPPFLAGS)
tests_agents_test_tools_LDADD = $(tests_agents_test_llm_LDADD)
tests_agents_test_llm_CPPFLAGS = $(tests_agents_test_echo_CPPFLAGS)
tests_agents_test_llm_LDADD = \
	libsluice-llm.a \
	$(AGENT_TEST_LIBS)
tests_agents_test_harness_SOURCES = $(REFUSALS) tests/agents/test_harness.c
tests_agents_test_harness_CPPFLAGS = $(tests_agents_test_echo_CPPFLAGS)
tests_agents_test_harness_LDADD = $(AGENT_TEST_LIBS)

# Built as an author builds a plugin: one command, one .so.
TEST_PLUGINS = \
	tests/plugins/e2e_block.so \
	tests/plugins/e2e_case.so \
	tests/plugins/e2e_chat.so \
	tests/plugins/e2e_chat_fiber.so \
	tests/plugins/e2e_crash.so \
	tests/plugins/e2e_crash_fiber.so \
	tests/plugins/e2e_ctx.so \
	tests/plugins/e2e_ctx_fiber.so \
	tests/plugins/e2e_doors.so \
	tests/plugins/e2e_emit.so \
	tests/plugins/e2e_flood.so \
	tests/plugins/e2e_flood_fiber.so \
	tests/plugins/e2e_ask.so \
	tests/plugins/e2e_ask_fiber.so \
	tests/plugins/e2e_http.so \
	tests/plugins/e2e_http_fiber.so \
	tests/plugins/e2e_input.so \
	tests/plugins/e2e_input_fiber.so \
	tests/plugins/e2e_llm.so \
	tests/plugins/e2e_llm_fiber.so \
	tests/plugins/e2e_loading.so \
	tests/plugins/e2e_loading_fiber.so \
	tests/plugins/e2e_person.so \
	tests/plugins/e2e_person_fiber.so \
	tests/plugins/e2e_pour.so \
	tests/plugins/e2e_pour_fiber.so \
	tests/plugins/e2e_watch.so \
	tests/plugins/e2e_watch_fiber.so \
	tests/plugins/fault_abi.so \
	tests/plugins/fault_atexit.so \
	tests/plugins/fault_cancel.so \
	tests/plugins/fault_cancel_fiber.so \
	tests/plugins/fault_close.so \
	tests/plugins/fault_constructor.so \
	tests/plugins/fault_crash.so \
	tests/plugins/fault_crash_fiber.so \
	tests/plugins/fault_create.so \
	tests/plugins/fault_deadlock.so \
	tests/plugins/fault_entry.so \
	tests/plugins/fault_exit.so \
	tests/plugins/fault_fork.so \
	tests/plugins/fault_garbage.so \
	tests/plugins/fault_handle.so \
	tests/plugins/fault_hang.so \
	tests/plugins/fault_hog.so \
	tests/plugins/fault_ignore.so \
	tests/plugins/fault_ignore_fiber.so \
	tests/plugins/fault_loop.so \
	tests/plugins/fault_name.so \
	tests/plugins/fault_print.so \
	tests/plugins/fault_restart.so \
	tests/plugins/fault_restart_fixed.so \
	tests/plugins/fault_selftest.so \
	tests/plugins/fault_short_send.so \
	tests/plugins/fault_signals.so \
	tests/plugins/fault_stray.so \
	tests/plugins/fault_symbol.so \
	tests/plugins/fault_wire.so \
	tests/plugins/fiber_frame.so \
	tests/plugins/fiber_shared.so \
	tests/plugins/fiber_sleep.so \
	tests/plugins/fiber_starve.so \
	tests/plugins/harness_http.so \
	tests/plugins/harness_tasks.so \
	tests/plugins/kit.so \
	tests/plugins/kit_fiber.so \
	tests/plugins/origin.so \
	tests/plugins/slow_resolver.so \
	tests/plugins/swap_bad_crash.so \
	tests/plugins/swap_bad_create.so \
	tests/plugins/swap_bad_hang.so \
	tests/plugins/swap_bad_run.so \
	tests/plugins/swap_bad_selftest.so \
	tests/plugins/swap_one.so \
	tests/plugins/swap_state_one.so \
	tests/plugins/swap_state_two.so \
	tests/plugins/swap_two.so \
	tests/plugins/thread_bind.so \
	tests/plugins/tls_block.so \
	tests/plugins/thread_bind_fiber.so \
	tests/plugins/thread_late.so \
	tests/plugins/unit_probe.so \
	tests/plugins/unit_probe_fiber.so
# Of one source, tests/plugins/mcp_tool.c.
MCP_TOOLS = \
	tests/plugins/mcp/json_schema_2020_12_tool.so \
	tests/plugins/mcp/test_elicitation.so \
	tests/plugins/mcp/test_elicitation_sep1034_defaults.so \
	tests/plugins/mcp/test_elicitation_sep1330_enums.so \
	tests/plugins/mcp/test_error_handling.so \
	tests/plugins/mcp/test_simple_text.so \
	tests/plugins/mcp/test_tool_with_progress.so
TEST_PLUGINS_LLM = \
	tests/plugins/e2e_chat.so \
	tests/plugins/e2e_chat_fiber.so \
	tests/plugins/e2e_llm.so \
	tests/plugins/e2e_llm_fiber.so
TEST_PLUGINS_CXX = \
	tests/plugins/fault_cxx.so \
	tests/plugins/fiber_catch.so
check_DATA = \
	$(MCP_TOOLS) \
	$(TEST_PLUGINS) \
	$(TEST_PLUGINS_CXX)
CLEANFILES += \
	$(MCP_TOOLS) \
	$(TEST_PLUGINS) \
	$(TEST_PLUGINS_CXX) \
	tests/plugins/*.d \
	tests/plugins/mcp/*.d \
	tests/plugins/*.o

# The clients that people use, as tests/clients/package-lock.json has them, and a Node that is new
# enough for them. Without the network there are none, and the tests that need them are skipped.
# tests/npm/clients is tests/clients, at a place from where Node finds the packages.
TEST_CLIENTS = \
	tests/clients/package.json \
	tests/clients/package-lock.json
if HAVE_NPM
check_DATA += tests/npm/stamp
tests/npm/stamp: $(TEST_CLIENTS)
	$(AM_V_GEN)rm -rf tests/npm && $(MKDIR_P) tests/npm && cp $^ tests/npm && cd tests/npm && \
		ln -s $(abs_srcdir)/tests/clients clients && \
		if $(NPM) ci --prefer-offline --ignore-scripts --no-audit --no-fund >log 2>&1; then touch stamp; \
		else cat log >&2; echo "npm cannot install the clients: their tests are skipped" >&2; fi
endif
clean-local:
	rm -rf soak tests/npm

# One command compiles and links a plugin, and writes into NAME.d what it read; NAME_fiber.so is
# NAME.c in fiber mode, see tests/plugins/mode.h.
TEST_PLUGIN_COMPILE = $(MKDIR_P) $(@D) && $(CC) $(PLUGIN_CPPFLAGS) $(CPPFLAGS) \
	$(PLUGIN_CFLAGS) $(CFLAGS) -MMD -MP -MF $(@:.so=.d) -MT $@ -shared -fPIC
TEST_PLUGIN_LIBS = $(CJSON_LIBS) -lpthread
tests/plugins/%.so: tests/plugins/%.c
	$(AM_V_CC)$(TEST_PLUGIN_COMPILE) $< $(filter %.o %.a,$^) -o $@ $(TEST_PLUGIN_LIBS)
tests/plugins/mcp/%.so: tests/plugins/mcp_tool.c
	$(AM_V_CC)$(TEST_PLUGIN_COMPILE) -DTOOL='"$*"' $< -o $@ $(TEST_PLUGIN_LIBS)
tests/plugins/%_fiber.so: tests/plugins/%.c
	$(AM_V_CC)$(TEST_PLUGIN_COMPILE) -DPLUGIN_MODE=AGENT_FIBER $< $(filter %.o %.a,$^) -o $@ \
		$(TEST_PLUGIN_LIBS)
tests/plugins/%.so: tests/plugins/%.cc
	$(AM_V_CXX)$(MKDIR_P) $(@D) && $(CXX) -std=c++20 $(PLUGIN_CPPFLAGS) $(CPPFLAGS) \
		$(SANITIZE_FLAGS) -fvisibility=hidden $(CXXFLAGS) -MMD -MP -MF $(@:.so=.d) -MT $@ \
		-shared -fPIC $< -o $@ -lpthread
$(TEST_PLUGINS_LLM): libsluice-llm.a
# A report has their lines.
tests/plugins/fault_crash.so tests/plugins/fault_crash_fiber.so: PLUGIN_CFLAGS += -g
# A plugin of two files.
tests/plugins/unit_probe.so tests/plugins/unit_probe_fiber.so: tests/plugins/unit_probe_second.o
tests/plugins/unit_probe_second.o: tests/plugins/unit_probe_second.c
	$(AM_V_CC)$(MKDIR_P) $(@D) && $(CC) $(PLUGIN_CPPFLAGS) $(CPPFLAGS) $(PLUGIN_CFLAGS) $(CFLAGS) \
		-MMD -MP -MF $(@:.o=.d) -MT $@ -c -fPIC $< -o $@
# A plugin that brings a library along.
tests/plugins/origin.so: tests/plugins/lib/liborigin_help.so
tests/plugins/origin.so: TEST_PLUGIN_LIBS = $(CJSON_LIBS) -Ltests/plugins/lib -lorigin_help \
	-Wl,-rpath,'$$ORIGIN/lib'
tests/plugins/lib/liborigin_help.so: tests/plugins/origin_help.c
	$(AM_V_CC)$(MKDIR_P) $(@D) && $(CC) $(CFLAGS) -shared -fPIC $< -o $@
CLEANFILES += tests/plugins/lib/liborigin_help.so
-include $(wildcard tests/plugins/*.d tests/plugins/mcp/*.d)

E2E_TESTS = \
	tests/e2e/test_a2a.py \
	tests/e2e/test_abi.py \
	tests/e2e/test_a2a_http.py \
	tests/e2e/test_access.py \
	tests/e2e/test_agui.py \
	tests/e2e/test_agui_http.py \
	tests/e2e/test_aisdk.py \
	tests/e2e/test_aisdk_http.py \
	tests/e2e/test_ask.py \
	tests/e2e/test_bench.py \
	tests/e2e/test_bodies.py \
	tests/e2e/test_cancel.py \
	tests/e2e/test_chat.py \
	tests/e2e/test_cli.py \
	tests/e2e/test_clients.py \
	tests/e2e/test_clients_page.py \
	tests/e2e/test_context.py \
	tests/e2e/test_crash.py \
	tests/e2e/test_crash_report.py \
	tests/e2e/test_debugging.py \
	tests/e2e/test_declared.py \
	tests/e2e/test_detach.py \
	tests/e2e/test_doors.py \
	tests/e2e/test_docs.py \
	tests/e2e/test_eventsource.py \
	tests/e2e/test_examples.py \
	tests/e2e/test_fault_plugins.py \
	tests/e2e/test_faults.py \
	tests/e2e/test_fibers.py \
	tests/e2e/test_folder.py \
	tests/e2e/test_framing.py \
	tests/e2e/test_hardening.py \
	tests/e2e/test_headers.py \
	tests/e2e/test_half_close.py \
	tests/e2e/test_heartbeat.py \
	tests/e2e/test_http_client.py \
	tests/e2e/test_ignore.py \
	tests/e2e/test_input.py \
	tests/e2e/test_install.py \
	tests/e2e/test_kept.py \
	tests/e2e/test_layers.py \
	tests/e2e/test_leave.py \
	tests/e2e/test_limits.py \
	tests/e2e/test_listen.py \
	tests/e2e/test_llm.py \
	tests/e2e/test_llm_rows.py \
	tests/e2e/test_loading.py \
	tests/e2e/test_log.py \
	tests/e2e/test_many.py \
	tests/e2e/test_mcp.py \
	tests/e2e/test_mcp_http.py \
	tests/e2e/test_modes.py \
	tests/e2e/test_names.py \
	tests/e2e/test_openai.py \
	tests/e2e/test_openai_http.py \
	tests/e2e/test_origin.py \
	tests/e2e/test_payload.py \
	tests/e2e/test_protocols.py \
	tests/e2e/test_proxies.py \
	tests/e2e/test_readers.py \
	tests/e2e/test_readme.py \
	tests/e2e/test_rebuild.py \
	tests/e2e/test_refused.py \
	tests/e2e/test_reload.py \
	tests/e2e/test_responses.py \
	tests/e2e/test_responses_http.py \
	tests/e2e/test_resume.py \
	tests/e2e/test_run_ask.py \
	tests/e2e/test_run_input.py \
	tests/e2e/test_shares.py \
	tests/e2e/test_short_send.py \
	tests/e2e/test_shutdown.py \
	tests/e2e/test_slow_clients.py \
	tests/e2e/test_speaking.py \
	tests/e2e/test_stream.py \
	tests/e2e/test_supervise.py \
	tests/e2e/test_swap.py \
	tests/e2e/test_swap_storm.py \
	tests/e2e/test_testing.py \
	tests/e2e/test_threads.py \
	tests/e2e/test_tls.py \
	tests/e2e/test_user.py \
	tests/e2e/test_vanish.py \
	tests/e2e/test_truth.py

TESTS = \
	$(check_PROGRAMS) \
	$(E2E_TESTS)
TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $(PYTHON)
TREE_ENVIRONMENT = \
	SLUICE='$(abs_builddir)/sluice'; \
	SLUICE_PLUGINS='$(abs_builddir)/plugins/.libs'; \
	SLUICE_TEST_PLUGINS='$(abs_builddir)/tests/plugins'; \
	SLUICE_TEST_CLIENTS='$(abs_builddir)/tests/npm'; \
	SLUICE_SRCDIR='$(abs_srcdir)'; \
	PYTHONDONTWRITEBYTECODE=1; \
	export SLUICE SLUICE_PLUGINS SLUICE_TEST_PLUGINS SLUICE_TEST_CLIENTS SLUICE_SRCDIR \
		PYTHONDONTWRITEBYTECODE;
if SANITIZED
TREE_ENVIRONMENT += SLUICE_SANITIZED=1; export SLUICE_SANITIZED;
endif
# malloc() and free() fill memory, so that a read of what was never or is no longer there is seen.
AM_TESTS_ENVIRONMENT = \
	$(TREE_ENVIRONMENT) \
	MALLOC_PERTURB_=$${MALLOC_PERTURB_:-165}; export MALLOC_PERTURB_;

# A thousand streams, a hundred swaps, a report.
swap-storm: all $(TEST_PLUGINS)
	@$(TREE_ENVIRONMENT) $(PYTHON) $(srcdir)/tests/e2e/swap_storm.py

# Twenty thousand connections of strangers, a report.
crowd: all
	@$(TREE_ENVIRONMENT) $(PYTHON) $(srcdir)/tests/e2e/crowd.py

# A minute of silence in the clients of all protocols.
client-silence: all $(check_DATA)
	@$(TREE_ENVIRONMENT) $(PYTHON) $(srcdir)/tests/e2e/client_silence.py

# The tests again and again beside two busy processes; SOAK_ROUNDS says how often.
SOAK_ROUNDS = 20
soak: all
	@sh $(srcdir)/tests/soak.sh $(builddir) $(SOAK_ROUNDS)
.PHONY: client-silence crowd fuzz soak swap-storm

PROTOCOL_CASES = \
	tests/protocols/README.md \
	tests/protocols/a2a-events.case \
	tests/protocols/a2a-questions.case \
	tests/protocols/ag-ui-ends.case \
	tests/protocols/ag-ui-events.case \
	tests/protocols/ag-ui-gap.case \
	tests/protocols/ai-sdk-answers.case \
	tests/protocols/ai-sdk-ends.case \
	tests/protocols/ai-sdk-events.case \
	tests/protocols/ai-sdk-gap.case \
	tests/protocols/native-document.case \
	tests/protocols/native-ends.case \
	tests/protocols/native-events.case \
	tests/protocols/native-gap.case \
	tests/protocols/native-heartbeat.case \
	tests/protocols/native-packed.case \
	tests/protocols/native-print.case \
	tests/protocols/native-problems.case \
	tests/protocols/native-resume.case

EXTRA_DIST += \
	$(PROTOCOL_CASES) \
	tests/agents/llm/calls.case \
	tests/agents/llm/ends.case \
	tests/agents/llm/errors.case \
	tests/agents/llm/requests.case \
	tests/agents/llm/text.case \
	tests/fuzz/corpus \
	tests/abi/agent-1.0.h \
	tests/abi/agent-1.1.h \
	tests/abi/agent_http-1.1.h \
	tests/abi/agent_json-1.1.h \
	tests/abi/agent_llm-1.1.h \
	tests/abi/agent_sse-1.1.h \
	tests/abi/plugin-1.0.c \
	tests/abi/plugin-1.0.x86_64.so \
	tests/abi/plugin-1.1.c \
	tests/abi/plugin-1.1.x86_64.so \
	tests/agents/transcript.c \
	tests/clients/a2a.mjs \
	tests/clients/agui.mjs \
	tests/clients/aisdk.mjs \
	tests/clients/cases.mjs \
	tests/clients/clients.mjs \
	tests/clients/host.mjs \
	tests/clients/mcp.mjs \
	tests/clients/mcp_conformance.yml \
	tests/clients/node.mjs \
	tests/clients/openai.mjs \
	tests/clients/page.html \
	tests/clients/page.mjs \
	tests/clients/responses.mjs \
	tests/clients/speak.html \
	tests/clients/speak.mjs \
	tests/clients/speak_node.mjs \
	tests/clients/speak_page.mjs \
	tests/e2e/browser.py \
	tests/e2e/cable.py \
	tests/e2e/client_silence.py \
	tests/e2e/ending.py \
	tests/e2e/environment.py \
	tests/e2e/examples.py \
	tests/e2e/harness.py \
	tests/e2e/host.py \
	tests/e2e/http1.py \
	tests/e2e/identity.py \
	tests/e2e/kit.py \
	tests/e2e/listings.py \
	tests/e2e/model.py \
	tests/e2e/nginx.py \
	tests/e2e/proxy.py \
	tests/e2e/speaking.py \
	tests/e2e/stream.py \
	tests/e2e/supervising.py \
	tests/e2e/crowd.py \
	tests/e2e/swap_storm.py \
	tests/e2e/swapping.py \
	tests/e2e/swarm.py \
	tests/e2e/upstream.py \
	tests/plugins/buggy.c \
	tests/plugins/mcp_tool.c \
	tests/plugins/mode.h \
	tests/plugins/origin_help.c \
	tests/plugins/swap.h \
	tests/plugins/swap_state.h \
	tests/plugins/unit_probe.h \
	tests/plugins/unit_probe_second.c \
	tests/bare.sh \
	tests/format.sh \
	tests/soak.sh \
	tests/summary.py \
	$(E2E_TESTS) \
	$(TEST_CLIENTS) \
	$(filter-out %_fiber.c,$(TEST_PLUGINS:.so=.c)) \
	$(TEST_PLUGINS_CXX:.so=.cc)
