#!/usr/bin/env python3
"""What `make install` installs is enough to build, check and serve plugins."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from examples import Examples
from listings import Document

SRCDIR = pathlib.Path(os.environ["SLUICE_SRCDIR"]).resolve()
BUILD = pathlib.Path(os.environ["SLUICE"]).resolve().parent

PLUGIN = """
#include <sluice/agent.h>
static int handle(void *self, const char *input)
{
    (void)self;
    return emit_event("echo", input);
}
AGENT_PLUGIN(.name = "mine", .version = "0.1", .handle = handle)
"""

TEST = """
#include <sluice/agent_test.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    struct agent_test *test = argc > 1 ? agent_test_open_file(argv[1], NULL)
                                       : agent_test_open(agent_plugin_entry, NULL);
    agent_test_run(test, "{\\"x\\":1}");
    fputs(agent_test_transcript(test), stdout);
    agent_test_close(test);
    return 0;
}
"""

TRANSCRIPT = 'echo {"x":1}\ndone {"status":"finished"}\n'

SANITIZED = os.environ.get("SLUICE_SANITIZED") == "1"

ASKING = """
#include <sluice/agent_llm.h>
static int handle(void *self, const char *input)
{
    struct agent_llm llm = {.model = "small"};
    struct agent_llm_answer answer;
    cJSON *messages = cJSON_CreateArray();
    int status;
    (void)self;
    agent_llm_say(messages, "user", input);
    status = agent_llm_chat(&llm, messages, NULL, &answer);
    if (status < 0)
        run_fail(answer.code, "%s", answer.message);
    agent_llm_answer_finish(&answer);
    cJSON_Delete(messages);
    return status;
}
AGENT_PLUGIN(.name = "asking", .version = "0.1", .handle = handle)
"""

NO_MODEL = {name: "" for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL")}

# What an author may write in either language, with all of the SDK that needs no library.
HTTP_PLUGIN = """
#include <sluice/agent_http.h>
static int fetch(void *url)
{
    struct agent_http_request request = {.url = (const char *)url};
    struct agent_http *http;
    const char *data;
    long length;
    char *body;
    int status = agent_http_open(&request, &http);
    if (status < 0)
        return status;
    body = agent_http_collect(http, &status);
    emit_text(body ? body : agent_http_error(http));
    free(body);
    while ((length = agent_http_read(http, &data)) > 0)
        emit_text(agent_http_header(http, "Server"));
    status = agent_http_status(http);
    agent_http_close(http);
    return length < 0 ? (int)length : status;
}
static int handle(void *self, const char *input)
{
    struct agent_task *task;
    char url[] = "gopher://localhost/";
    int status;
    (void)self;
    (void)input;
    task_scope("a");
    status = task_spawn(fetch, url, &task);
    return status < 0 ? status : task_join(task) == -EINVAL ? emit_event("refused", "{}") : -EIO;
}
AGENT_PLUGIN(.name = "mine", .version = "0.1", .handle = handle)
"""

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]


class Install(Examples, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name, "root")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        subprocess.run(
            ["make", "-C", str(BUILD), "--silent", "install", "DESTDIR=%s" % cls.root],
            check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def one(self, name):
        found = list(self.root.rglob(name))
        self.assertEqual(len(found), 1, "%s: %s" % (name, found))
        return found[0]

    def pkg_config(self, *words, package="sluice"):
        env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=str(self.root),
                   PKG_CONFIG_PATH=str(self.one("sluice.pc").parent))
        return subprocess.run(["pkg-config", *words, package], check=True, env=env,
                              stdout=subprocess.PIPE, text=True).stdout.split()

    def build(self, compiler, suffix, *flags, text=PLUGIN, libraries=()):
        source = pathlib.Path(self.folder.name, "mine" + suffix)
        plugin = pathlib.Path(self.folder.name, "mine.so")
        source.write_text(text)
        subprocess.run(
            [compiler, *flags, *STRICT, "-shared", "-fPIC", *self.pkg_config("--cflags"),
             str(source), "-o", str(plugin), *libraries, "-Wl,-z,defs"], check=True)
        return plugin

    def build_test(self, compiler, suffix, *flags):
        """The plugin and its test in one program; what it needs is what pkg-config says."""
        program = pathlib.Path(self.folder.name, "test_mine")
        sources = [program.with_name("mine" + suffix), program.with_name("test_mine" + suffix)]
        for source, text in zip(sources, (PLUGIN, TEST)):
            source.write_text(text)
        subprocess.run(
            [compiler, *flags, *STRICT, *self.pkg_config("--cflags", package="sluice-test"),
             *map(str, sources), "-o", str(program),
             *self.pkg_config("--libs", package="sluice-test")], check=True)
        return program

    def run_test(self, program, *words):
        folder = self.one("libsluice-test.so").parent
        done = subprocess.run([str(program), *words], check=True, stdout=subprocess.PIPE, text=True,
                              env=dict(os.environ, LD_LIBRARY_PATH=str(folder)))
        return done.stdout

    def sluice(self, *words, env=None):
        return subprocess.run([str(self.one("sluice.pc").parents[2] / "bin" / "sluice"), *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, env={**os.environ, **(env or {})})

    def exported(self, plugin):
        symbols = subprocess.run(["nm", "-D", "--defined-only", str(plugin)], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout
        return [line.split()[-1] for line in symbols.splitlines()]

    def test_plugin_in_c99(self):
        plugin = self.build("cc", ".c", "-std=c99")
        self.assertEqual(self.exported(plugin), ["agent_plugin_entry"])
        done = self.sluice("run", str(plugin), '{"x":1}')
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('event: echo\ndata: {"x":1}\n', done.stdout)

    def test_plugin_in_cxx20(self):
        plugin = self.build("c++", ".cc", "-std=c++20")
        self.assertEqual(self.exported(plugin), ["agent_plugin_entry"])
        done = self.sluice("check", str(plugin))
        self.assertEqual(done.stdout, "mine 0.1, thread mode: fit to serve\n")

    @unittest.skipIf(SANITIZED, "what is linked with a sanitized library has to be, too")
    def test_tests_of_plugins(self):
        for build in (("cc", ".c", "-std=c99"), ("c++", ".cc", "-std=c++20")):
            program = self.build_test(*build)
            self.assertEqual(self.run_test(program), TRANSCRIPT)
            self.assertEqual(self.run_test(program, str(self.build(*build))), TRANSCRIPT)

    def test_library_for_tests_brings_no_network(self):
        """Of libcurl it uses only the parser that says what a URL is."""
        library = str(self.one("libsluice-test.so"))
        needs = subprocess.run(["readelf", "-d", library], check=True,
                               stdout=subprocess.PIPE, text=True).stdout
        self.assertNotRegex(needs, r"NEEDED.*\[lib(uv|microhttpd|gnutls|ltdl)\.")
        undefined = subprocess.run(["nm", "-D", "--undefined-only", library], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout
        used = {name for name in re.findall(r"\b(curl_\w+|socket|connect|getaddrinfo|epoll_\w+)\b",
                                            undefined)}
        self.assertEqual(used - {"curl_url", "curl_url_set", "curl_url_cleanup", "curl_url_get",
                                 "curl_url_strerror"},
                         set())

    def pkg_config_llm(self, words):
        """The packages of others, such as libcjson, are not below the root."""
        env = dict(os.environ, PKG_CONFIG_PATH=str(self.one("sluice.pc").parent))
        found = subprocess.run(["pkg-config", words, "sluice-llm"], check=True, env=env,
                               stdout=subprocess.PIPE, text=True).stdout
        for package, variable in (("sluice", "includedir"), ("sluice-llm", "libdir")):
            folder = self.pkg_config("--variable=" + variable, package=package)[0]
            found = found.replace(folder.removeprefix(str(self.root)), folder)
        return found.split()

    def test_models_are_a_library(self):
        """The flags of pkg-config are enough, and the library's symbols are not exported."""
        for compiler, suffix, standard in (("cc", ".c", "c99"), ("c++", ".cc", "c++20"),
                                           ("clang", ".c", "c99")):
            if shutil.which(compiler) is None or (SANITIZED and compiler == "clang"):
                continue  # a sanitized library has to be linked by the compiler that built it
            with self.subTest(compiler=compiler):
                plugin = self.build(compiler, suffix, "-std=" + standard,
                                    *self.pkg_config_llm("--cflags"), text=ASKING,
                                    libraries=self.pkg_config_llm("--libs"))
                self.assertEqual(self.exported(plugin), ["agent_plugin_entry"])
                done = self.sluice("run", str(plugin), env=NO_MODEL)
                self.assertIn('"code":"not_configured"', done.stdout)

    def test_symbols_of_the_library(self):
        """All begin with agent_ and are hidden."""
        archive = str(self.one("libsluice-llm.a"))
        table = subprocess.run(["readelf", "-sW", archive], check=True, stdout=subprocess.PIPE,
                               text=True).stdout
        found = re.findall(r"(?m) (?:GLOBAL|WEAK) +(\w+) +(?!UND)\w+ (\w+)$", table)
        self.assertIn(("HIDDEN", "agent_llm_chat"), found)
        self.assertIn(("HIDDEN", "agent_sse_feed"), found)
        for visibility, name in found:
            self.assertEqual((visibility, name[:6]), ("HIDDEN", "agent_"), name)

    def test_flags_of_a_plugin(self):
        """A missing symbol is an error of the link; symbols are bound at once, and to the plugin."""
        flags = self.pkg_config("--libs")
        self.assertEqual(flags, ["-Wl,-z,defs", "-Wl,-z,now", "-Wl,--exclude-libs,ALL",
                                 "-Wl,-Bsymbolic"])
        plugin = self.build("cc", ".c", "-std=c99", libraries=flags)
        self.assertEqual(self.exported(plugin), ["agent_plugin_entry"])
        dynamic = subprocess.run(["readelf", "-dW", str(plugin)], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout
        self.assertRegex(dynamic, r"FLAGS.*\bNOW\b")
        self.assertRegex(dynamic, r"SYMBOLIC")
        source = pathlib.Path(self.folder.name, "lacks.c")
        source.write_text("int absent(void); int lacks(void); int lacks(void) { return absent(); }")
        done = subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o",
                               str(source.with_suffix(".so")), *flags], check=False,
                              capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("absent", done.stderr)

    def test_requests_and_tasks(self):
        for compiler, suffix, standard in (("cc", ".c", "-std=c99"), ("cc", ".c", "-std=c17"),
                                           ("c++", ".cc", "-std=c++20"),
                                           ("clang", ".c", "-std=c99"),
                                           ("clang++", ".cc", "-std=c++20")):
            if shutil.which(compiler) is None:
                continue
            with self.subTest(compiler=compiler, standard=standard):
                plugin = self.build(compiler, suffix, standard, text=HTTP_PLUGIN)
                self.assertEqual(self.exported(plugin), ["agent_plugin_entry"])
                done = self.sluice("run", str(plugin))
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertIn('event: refused\ndata: {"scope":"a"}\n', done.stdout)

    @unittest.skipIf(SANITIZED, "what is linked with a sanitized library has to be, too")
    def test_examples(self):
        binaries = self.one("sluice.pc").parents[2] / "bin"
        with tempfile.TemporaryDirectory() as folder:
            self.try_examples(self.one("hello.c").parent, pathlib.Path(folder), {
                **{k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")},
                "PKG_CONFIG_SYSROOT_DIR": str(self.root),
                "PKG_CONFIG_PATH": str(self.one("sluice.pc").parent),
                "PATH": f"{binaries}:{os.environ['PATH']}"})

    def test_reference_plugins_are_where_serve_looks(self):
        folder = self.pkg_config("--variable=pluginsdir")[0]
        defaults = self.sluice("serve", "--defaults").stdout
        self.assertIn("\nplugins = %s\n" % folder.replace(str(self.root), ""), defaults)
        for name in ("ask.so", "chat.so", "echo.so", "ticker.so"):
            self.assertTrue((self.one("echo.so").parent / name).exists(), name)

    def try_build_tool(self, *commands):
        """The guide's project, built by these commands in its folder, loads."""
        files = Document("docs/writing-agents.md").files()
        with tempfile.TemporaryDirectory() as folder:
            for name in ("strict.c", "CMakeLists.txt", "meson.build"):
                pathlib.Path(folder, name).write_text(files[name])
            env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
            env["PKG_CONFIG_PATH"] = self.pkg_config_of_the_root(folder)
            for command in commands:
                subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
            plugin = pathlib.Path(folder, "built", "strict.so")
            self.assertEqual(self.exported(plugin), ["agent_plugin_entry"])
            dynamic = subprocess.run(["readelf", "-dW", str(plugin)], check=True,
                                     stdout=subprocess.PIPE, text=True).stdout
            self.assertRegex(dynamic, r"FLAGS.*\bNOW\b")
            self.assertRegex(dynamic, r"SYMBOLIC")
            done = self.sluice("check", str(plugin))
            self.assertEqual(done.stdout, "strict 1.0, thread mode: fit to serve\n")

    def pkg_config_of_the_root(self, folder):
        """A folder of the installed .pc files, as they would be without a DESTDIR."""
        for file in self.one("sluice.pc").parent.glob("*.pc"):
            text = file.read_text().replace("prefix=/", f"prefix={self.root}/", 1)
            pathlib.Path(folder, file.name).write_text(text)
        return folder

    @unittest.skipIf(SANITIZED, "a sanitized library has to be linked with its sanitizer")
    @unittest.skipUnless(shutil.which("cmake"), "cmake is not installed")
    def test_cmake(self):
        package = self.one("sluice-config.cmake").parent
        self.try_build_tool(["cmake", "-S", ".", "-B", "built", f"-Dsluice_DIR={package}"],
                            ["cmake", "--build", "built"])

    @unittest.skipIf(SANITIZED, "a sanitized library has to be linked with its sanitizer")
    @unittest.skipUnless(shutil.which("meson") and shutil.which("ninja"), "meson is not installed")
    def test_meson(self):
        self.try_build_tool(["meson", "setup", "built"], ["meson", "compile", "-C", "built"])

    def test_plugin_folder_has_only_plugins(self):
        """Also in an uninstalled tree nothing of them is left."""
        folder = self.one("echo.so").parent
        self.assertEqual({file.suffix for file in folder.iterdir()}, {".so"})
        with tempfile.TemporaryDirectory() as root:
            env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
            for target in ("install", "uninstall"):
                subprocess.run(["make", "-C", str(BUILD), "--silent", target, f"DESTDIR={root}"],
                               check=True, env=env, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
            self.assertEqual([path for path in pathlib.Path(root).rglob("*") if path.is_file()], [])

    def test_documents_of_ask_are_installed(self):
        plugin = self.one("ask.so").read_bytes()
        folder = self.one("configuration.md").parent
        self.assertIn(str(folder).replace(str(self.root), "").encode(), plugin)


if __name__ == "__main__":
    unittest.main()
