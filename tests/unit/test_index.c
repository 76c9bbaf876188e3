/* The index of the plugin ask, from the words of a question to an answer. The cases index a folder
 * of files that they make. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw() */
#endif

#include "../case.h"
#include "answer.h"
#include "document.h"
#include "index.h"
#include "markdown.h"
#include "markup.h"
#include "passage.h"
#include "roff.h"
#include "text.h"
#include "words.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

/* ---- roff ---- */

static void check_roff(const char *source, const char *expected)
{
    char *text = roff_text(source);

    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, expected);
    free(text);
}

CASES("text");

CASE(roff_headings_and_paragraphs)
{
    check_roff(".TH LS 1\n.SH NAME\nls \\- list\n.PP\nMore\n", " \n# NAME\nls - list\n\nMore\n");
    check_roff(".SH\nNAME\n.SS \"A B\"\n", "\n# NAME\n# A B\n");
}

CASE(roff_escapes)
{
    check_roff("\\fBbold\\fR \\f(CWx\\f[R] a\\-b \\(bu \\[bu] \\e \\& \\(lqq\\(rq\n",
               "bold x a-b • • \\  “q”\n");
    check_roff("a\\s-1B\\s0c\\h'2n'd\\*(Aqe\\u\\[u00E9]\\\"gone\n", "aBcd'eé\n");
    check_roff("\\éa \\féb \\(xéc \\hé3éd\n", "a b c d\n");
    check_roff("cut \\", "cut \n");
    check_roff("cut \\f(", "cut \n");
    check_roff("cut \\[", "cut \n");
    check_roff("cut \\h'", "cut \n");
}

CASE(roff_fonts)
{
    check_roff(".BR ls (1),\n", "ls(1),\n");
    check_roff(".B two words\n.I \"one arg\"\n", "two words\none arg\n");
    check_roff(".BI \\-p \" pid\"\n", "-p pid\n");
}

CASE(roff_items)
{
    check_roff(".TP\n\\-x\nExtract.\n.IP \\-y 4\nYes.\n.IP \\(bu 2\nDot.\n",
               "\n* -x:\nExtract.\n* -y:\nYes.\n* \nDot.\n");
    check_roff(".TP\n.PD 0\n.BI \\-f \" file\"\n\nUse it.\n", "\n \n* -f file:\n \nUse it.\n");
}

CASE(roff_code)
{
    check_roff(".nf\ntar xf a\n  b\n\nc\n.fi\nprose\n",
               " \n    tar xf a\n      b\n \n    c\n \nprose\n");
    check_roff("run:\n.RS 4\nlsof \\-i\n.RE\n", "run:\n\n    lsof -i\n\n");
}

CASE(roff_leaves_out_definitions)
{
    check_roff(".de XX\nno\n..\nyes\n.ig\nno\n..\n", " \n \n \nyes\n \n \n \n");
    check_roff(".if t \\{\\\nno\n.\\}\nyes\n", " \n \n \nyes\n");
    check_roff(".ie n \\{\\\nyes\n.\\}\n.el \\{\\\nno\n.\\}\nend\n", " \nyes\n \n \n \n \nend\n");
    check_roff(".\\\" comment\n.de never ends\n", " \n \n");
}

CASE(roff_mdoc)
{
    check_roff(".Sh NAME\n.Nm ls\n.Nd list\n", "# NAME\nls\n- list\n");
    check_roff(".Nm ls\n.Nm\n.Op Fl a\n.Fl x Ar file , Xr cat 1 .\n",
               "ls\nls\n[-a]\n-x file, cat 1.\n");
    check_roff(".Bl -tag\n.It Fl l Ns Ar n\nLong.\n.El\n", "\n* -ln:\nLong.\n\n");
    check_roff(".Fn open \"const char *p\" flags .\n.Dq so .\n",
               "open const char *p flags.\n“so”.\n");
}

CASE(roff_tables)
{
    check_roff(".TS\nl l.\na\tb\n_\nT{\nlong\nT}\tc\n.TE\n", "\n \n* a b\n \n \n* long\n* c\n\n");
}

static char *repeat(const char *start, const char *piece, size_t count)
{
    size_t length = strlen(piece);
    char *text = malloc(strlen(start) + count * length + 1);
    char *at = stpcpy(text, start);

    for (; count > 0; count--, at += length)
        strcpy(at, piece);
    return text;
}

CASE(roff_conditions_in_conditions)
{
    char *source = repeat(".SH A\n", ".if n ", 300000);

    check_roff(".if n .if !t .ie n yes\n", "yes\n");
    check_roff(".if n .if t no\n.el yes\n", " \nyes\n");
    check_roff(source, "# A\n \n");
    free(source);
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

CASE(roff_keeps_the_number_of_lines)
{
    static const char *const pieces[] = {
        ".TP", ".SH", "\\f(",      ".nf", "x:",     ".RS",    "T{", ".TS",
        "l.",  "",    ".if n \\{", ".el", "'br\\}", ".It Fl", ".TE"};
    size_t count = sizeof(pieces) / sizeof(pieces[0]);

    srand(7);
    for (int round = 0; round < 500; round++) {
        char source[512] = "";
        char *text;
        for (int i = 0; i < 20; i++) {
            strcat(source, pieces[(size_t)rand() % count]);
            strcat(source, "\n");
        }
        text = roff_text(source);
        ck_assert_uint_eq(count_lines(text), 20);
        free(text);
    }
}

/* ---- markup ---- */

static void check_markup(enum markup markup, const char *source, const char *expected)
{
    char *text = markup_text(source, markup);

    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, expected);
    free(text);
}

static void check_markdown(const char *source, const char *expected)
{
    char *text = markdown_text(source);

    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, expected);
    free(text);
}

CASE(markdown)
{
    check_markdown("# One #\n\nText **bold**\n- item\n", "# One\n\nText bold\n* item\n");
    check_markdown("Like:\n\n    code\n\ntext\n", "Like:\n\n    code\n\ntext\n");
    check_markdown("One\ntwo\n===\n\n\n#3\n\nend", "# One\ntwo\n \n\n\n #3\n\nend\n");
    check_markdown("", "");
    check_markdown("\n \n", "\n\n");
}

CASE(markdown_code)
{
    check_markdown("```c\nint x;\n```\n", " \n    int x;\n \n");
    check_markdown("So:\n~~~\n\n  a\n\n\tb\n~~~\nend\n",
                   "So:\n \n\n      a\n    \n        b\n \nend\n");
    check_markdown("Run `a\nb` and ``c`d``.\n", "Run `a \nb` and `c`d`.\n");
}

CASE(markdown_lists)
{
    check_markdown("1. one\n2. two\n   - deep\n3. three\n\n   more\n",
                   "* 1. one\n* 2. two\n* deep\n* 3. three\n\nmore\n");
    check_markdown("-\n\n# A\n- # B\n", " \n\n# A\n# B\n");
}

CASE(markdown_tables)
{
    check_markdown("| a | b |\n|---|---|\n| c | d |\n", "* a — b\n \n* c — d\n");
    check_markdown("| a | b |\n|---|---|\n|   | `d` |\n", "* a — b\n \n* `d`\n");
}

CASE(markdown_links)
{
    check_markdown("See [it](a.md), [that][1] and <http://b>.\n\n[1]: http://c\n",
                   "See it, that (http://c) and http://b.\n\n \n");
    check_markdown("![A picture](a.png)\n", "A picture\n");
}

CASE(markdown_html)
{
    check_markdown("a<!-- no --> b<br>c &copy;\n", "a b c &copy;\n");
    check_markdown("<p align=\"x\">\nyes\n</p>\n\n<!--\nno\n\nno\n-->\nend\n",
                   " \nyes\n \n\n \n \n\n \n \nend\n");
}

static int ignore_passage(void *argument, const char *heading, const char *text, unsigned line)
{
    (void)argument;
    (void)text;
    return strlen(heading) > PASSAGE_HEADING || line == 0 ? -EINVAL : 0;
}

/* Read the source as passages; return the CPU time that took. */
static clock_t time_source(const char *source)
{
    clock_t start = clock();
    char *text = markdown_text(source);

    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(passage_split(text, ignore_passage, NULL), 0);
    free(text);
    return clock() - start;
}

/* Read a source of this size that starts with head, and then repeats piece, and then piece_2. */
static clock_t read_repeated(size_t size, const char *head, const char *piece, const char *middle,
                             const char *piece_2)
{
    size_t length = strlen(piece) > strlen(piece_2) ? strlen(piece) : strlen(piece_2);
    char *first = repeat(head, piece, size / 2 / length);
    char *second = repeat(middle, piece_2, size / 2 / length);
    char *source = malloc(strlen(first) + strlen(second) + 1);
    clock_t took = time_source(strcat(strcpy(source, first), second));

    free(source);
    free(second);
    free(first);
    return took;
}

static clock_t read_table(size_t columns)
{
    char *head = repeat("", "a|", columns), *line = repeat("\n", "---|", columns);
    char *rows = repeat("\n", "x|\n", columns);
    char *source = malloc(strlen(head) + strlen(line) + strlen(rows) + 1);
    clock_t took = time_source(strcat(strcat(strcpy(source, head), line), rows));

    free(source);
    free(rows);
    free(line);
    free(head);
    return took;
}

/* Four times the size takes four times the time; a square would take sixteen times. */
static void expect_linear(clock_t quarter, clock_t whole)
{
    ck_assert_int_lt(whole, 9 * quarter + CLOCKS_PER_SEC / 2);
}

/* Large sources on which some reader once spent a time that grows with the square of the size. */
CASE(markdown_takes_linear_time)
{
    static const char *const sources[][4] = {
        {"x", "**", "", "**"},
        {"", "[", "", "]("},
        {"", "> ", "x", "\n>"},
        {"", "\n", "a", "\n\n"},
        {"", "a<!--", "\n\n", "<?"},
        {"# ", "long ", "\n\n", "a paragraph\n\n"},
        {"[a]: /", "x&amp;", "\n\n", "[a]"},
    };

    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        const char *const *source = sources[i];
        expect_linear(read_repeated(DOCUMENT_MAX / 4, source[0], source[1], source[2], source[3]),
                      read_repeated(DOCUMENT_MAX, source[0], source[1], source[2], source[3]));
    }
}

CASE(markdown_tables_of_many_columns)
{
    expect_linear(read_table(12500), read_table(50000));
}

CASE(markup_plain)
{
    check_markup(MARKUP_PLAIN, "Title\n=====\n\ntext\n", "# Title\n\n\ntext\n");
    check_markup(MARKUP_PLAIN, "#hash\n  indented\n", " #hash\nindented\n");
    check_markup(MARKUP_PLAIN, "", "");
    check_markup(MARKUP_PLAIN, "x\n1", "x\n1\n");
    check_markup(MARKUP_PLAIN, "x\n12\n abc\n1. y\n- z\n", "x\n12\nabc\n* 1. y\n* z\n");
}

CASE(markup_header)
{
    check_markup(MARKUP_HEADER, "/*\n * Opens it.\n */\nint open_it(void);\n",
                 "\nOpens it.\n\n    int open_it(void);\n");
    check_markup(MARKUP_HEADER, "/* ---- emit ------\n *\n * Text\n */\n", "# emit\n\nText\n\n");
    check_markup(MARKUP_HEADER, "// one\nint x; /* y */\n", "one\n    int x; /* y */\n");
}

/* ---- passages ---- */

struct seen {
    size_t count;
    unsigned lines[64];
    char headings[64][32];
    size_t longest;
    char first[256];
};

static int see_passage(void *argument, const char *heading, const char *text, unsigned line)
{
    struct seen *seen = argument;

    if (seen->count == 0)
        snprintf(seen->first, sizeof(seen->first), "%s", text);
    seen->lines[seen->count] = line;
    snprintf(seen->headings[seen->count], sizeof(seen->headings[0]), "%s", heading);
    if (strlen(text) > seen->longest)
        seen->longest = strlen(text);
    return ++seen->count == 64 ? -ENOSPC : 0;
}

CASE(passage_lines_and_headings)
{
    struct seen seen = {0};

    ck_assert_int_eq(passage_split("\n\nintro\n# One\n\n \ntext\nmore\n\nlast\n# Two\n# Three\nend",
                                   see_passage, &seen),
                     0);
    ck_assert_uint_eq(seen.count, 3);
    ck_assert_uint_eq(seen.lines[0], 3);
    ck_assert_str_eq(seen.headings[0], "");
    ck_assert_uint_eq(seen.lines[1], 7);
    ck_assert_str_eq(seen.headings[1], "One");
    ck_assert_uint_eq(seen.lines[2], 13);
    ck_assert_str_eq(seen.headings[2], "Three");
}

CASE(passage_without_words)
{
    struct seen seen = {0};

    ck_assert_int_eq(passage_split("# A\n---\n\n* \n# B\n", see_passage, &seen), 0);
    ck_assert_uint_eq(seen.count, 0);
}

CASE(passage_cuts_long_lines)
{
    struct seen seen = {0};
    char text[3 * PASSAGE_MAX];

    for (size_t i = 0; i < sizeof(text) - 1; i++)
        text[i] = i % 7 == 6 ? ' ' : 'w';
    text[sizeof(text) - 1] = '\0';
    ck_assert_int_eq(passage_split(text, see_passage, &seen), 0);
    ck_assert_uint_ge(seen.count, 3);
    ck_assert_uint_le(seen.longest, PASSAGE_MAX);
    ck_assert_uint_eq(seen.lines[2], 1);
}

CASE(passage_keeps_code_with_its_lead)
{
    struct seen seen = {0};
    char text[PASSAGE_TARGET + 200];
    size_t length = PASSAGE_TARGET - 20;

    memset(text, 'x', length);
    strcpy(text + length, " so run:\n\n    make check and all else\n\nother text\n");
    ck_assert_int_eq(passage_split(text, see_passage, &seen), 0);
    ck_assert_uint_eq(seen.count, 2);
    ck_assert_uint_eq(seen.lines[1], 5);
}

CASE(passage_function_can_stop)
{
    struct seen seen = {.count = 63};

    ck_assert_int_eq(passage_split("# A\nx\n# B\ny\n", see_passage, &seen), -ENOSPC);
    ck_assert_uint_eq(seen.count, 64);
}

/* ---- words ---- */

static void check_query(const char *question, const char *expected)
{
    struct words words;
    char query[WORDS_QUERY];

    words_read(&words, question);
    words_query(&words, query, sizeof(query));
    ck_assert_str_eq(query, expected);
}

CASES("words");

CASE(words_stop_words_are_left_out)
{
    check_query("How do I extract the Archive?", "\"extract\" OR \"archive\"");
    check_query("what is it", "\"what\" OR \"is\" OR \"it\"");
    check_query("extract extracting extracts", "\"extract\"");
}

CASE(words_are_no_operators)
{
    check_query("\"a\" AND b* NEAR(c, 2) -d ^e {f}:g",
                "\"b\" OR \"near\" OR \"c\" OR \"2\" OR \"d\" OR \"e\" OR \"f\" OR \"g\"");
    check_query("x\" OR title:\"y", "\"x\" OR \"title\" OR \"y\"");
}

CASE(words_of_nothing)
{
    check_query("", "");
    check_query(" ?!. — “ ”", "");
}

CASE(words_in_unicode)
{
    check_query("ÄPFEL “naïve” 日本", "\"apfel\" OR \"naive\" OR \"日本\"");
    check_query("İstanbul GRÜẞE ﬁle Ελλάς ЁЛКА",
                "\"istanbul\" OR \"grusse\" OR \"file\" OR \"ελλασ\" OR \"елка\"");
    check_query("cafe\u0301 co\u00adop", "\"cafe\" OR \"coop\"");
}

CASE(words_are_limited)
{
    struct words words;
    char question[3 * QUESTION_MAX];
    char query[WORDS_QUERY];

    memset(question, 'a', sizeof(question));
    question[sizeof(question) - 1] = '\0';
    words_read(&words, question);
    ck_assert_uint_eq(words.count, 1);
    ck_assert_uint_eq(strlen(words.word[0]), WORD_SIZE - 1);
    *question = '\0';
    for (int i = 0; i < 200; i++)
        sprintf(question + strlen(question), "w%d ", i);
    words_read(&words, question);
    ck_assert_uint_eq(words.count, WORDS_MAX);
    words_query(&words, query, sizeof(query));
    ck_assert_uint_lt(strlen(query), sizeof(query));
}

CASE(words_long_ones_are_cut_between_characters)
{
    struct words words;
    char question[WORD_SIZE * 2 + 1] = "x";

    for (size_t i = 0; i < WORD_SIZE / 2 + 3; i++)
        strcat(question, "ж");
    words_read(&words, question);
    ck_assert_uint_eq(words.count, 1);
    ck_assert_uint_eq(strlen(words.word[0]) % 2, 1);
}

CASE(words_of_scripts_without_blanks)
{
    struct words words;

    check_query("設定を", "\"設定\" OR \"定を\"");
    check_query("犬 C言語", "\"犬\" OR \"c\" OR \"言語\"");
    check_query("ภาษา", "\"ภา\" OR \"าษ\" OR \"ษา\"");
    words_read(&words, "定 を設 か");
    ck_assert_uint_eq(words_found(&words, "設定を"), 1);
    words_read(&words, "설정");
    ck_assert_uint_eq(words_found(&words, "설정을"), 1);
}

CASE(words_found_by_stem)
{
    static const char text[] = "Compression of files; registered.";
    struct words words;

    words_read(&words, "compress a file, registers nothing");
    ck_assert_uint_eq(words_found(&words, text), 7);
    ck_assert_double_eq(words_weight(&words, 5), 2);
}

/* ---- documents ---- */

CASE(text_of_any_origin)
{
    static const char bytes[] = "\xef\xbb\xbf# A\r\nb\rc\x1b[1;31mred\x1b[0m\x1b\x01 \x93q\x94 \x9b"
                                "1m"
                                "\xc2\x9b \xc3\xa9 \xe9 \xed\xa0\x80 \xe2\x82";
    struct text text = {0};

    text_add_foreign(&text, bytes, sizeof(bytes) - 1);
    ck_assert_str_eq(text.data, "# A\nb\ncred   “q” ›1m é é í\u00a0€ â‚");
    text_finish(&text);
}

CASE(document_kinds)
{
    static const struct {
        const char *name;
        enum document_kind kind;
    } cases[] = {
        {"ls.1", DOCUMENT_MANUAL},
        {"ls.1.gz", DOCUMENT_MANUAL},
        {"SSL_new.3ssl", DOCUMENT_MANUAL},
        {"a.md", DOCUMENT_MARKDOWN},
        {"a.md.gz", DOCUMENT_MARKDOWN},
        {"README", DOCUMENT_PLAIN},
        {"readme.txt", DOCUMENT_PLAIN},
        {"README.Debian.gz", DOCUMENT_PLAIN},
        {"README.html", DOCUMENT_NONE},
        {"changelog.gz", DOCUMENT_RECORD},
        {"copyright", DOCUMENT_RECORD},
        {"agent.h", DOCUMENT_HEADER},
        {"a.rst", DOCUMENT_PLAIN},
        {"a.png", DOCUMENT_NONE},
        {"a.gz", DOCUMENT_NONE},
        {"a.10", DOCUMENT_NONE},
        {"a", DOCUMENT_NONE},
        {"", DOCUMENT_NONE},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(document_kind(cases[i].name) == cases[i].kind, "%s", cases[i].name);
}

/* ---- a small tree ---- */

static char tree[64];

static const char *tree_path(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", tree, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t length)
{
    FILE *file = fopen(tree_path(name), "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static void write_gzip(const char *name, const char *text)
{
    gzFile file = gzopen(tree_path(name), "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(gzputs(file, text), 0);
    ck_assert_int_eq(gzclose(file), Z_OK);
}

static void write_manuals(void)
{
    write_gzip("man/tar.1.gz",
               ".TH TAR 1\n.SH NAME\ntar \\- an archiving utility\n.SH DESCRIPTION\n"
               "Stores many files in one file.\n.SH OPTIONS\n.TP\n\\-x, \\-\\-extract\n"
               "Extract files from an archive.\n.SH EXAMPLES\nTo extract an archive, run:\n"
               ".PP\n.nf\ntar \\-xf archive.tar\n.fi\n");
    write_text("man/cat.1", ".TH CAT 1\n.SH NAME\ncat \\- concatenate files\n.SH DESCRIPTION\n"
                            "Writes files to standard output.\n");
    write_text("man/libz.so.1", "plain text with the name of a manual page\n");
}

static void write_large(void)
{
    char *bytes = malloc(DOCUMENT_MAX + 10);

    memset(bytes, 'l', DOCUMENT_MAX + 10);
    write_file("large.txt", bytes, DOCUMENT_MAX + 10);
    free(bytes);
}

static void tree_make(void)
{
    strcpy(tree, "/tmp/test_index.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(tree));
    ck_assert_int_eq(mkdir(tree_path("man"), 0700), 0);
    ck_assert_int_eq(mkdir(tree_path(".hidden"), 0700), 0);
    write_manuals();
    write_text("guide.md", "# Guide\n\nWelcome.\n\n## Start\n\nTo start the server, run it.\n");
    write_text("changelog", "Fixed: extract the archive, extract archive, tar archive\n");
    write_text("again.md", "# Guide\n\nWelcome.\n\n## Start\n\nTo start the server, run it.\n");
    write_text("latin.txt", "Gr\xfc\xdf"
                            "e an alle, caf\xc3\xa9\n");
    write_file("binary.txt", "a\0b", 3);
    write_file("broken.txt.gz", "\x1f\x8b\x08\x00 not really", 15);
    write_text("empty.txt", "");
    write_text("picture.png", "png");
    write_text(".hidden/secret.txt", "zebra secret\n");
    write_large();
    ck_assert_int_eq(symlink(tree, tree_path("loop")), 0);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static void tree_remove(void)
{
    nftw(tree, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static struct index *tree_index(void)
{
    struct index *index = NULL;
    char error[256] = "";

    ck_assert_msg(index_create(tree, &index, error, sizeof(error)) == 0, "%s", error);
    return index;
}

CASES("index", .setup_once = tree_make, .teardown_once = tree_remove);

CASE(index_counts_what_it_reads)
{
    struct index *index = tree_index();
    const struct index_counts *counts = index_counts(index);

    ck_assert_uint_eq(counts->files, 6);
    ck_assert_uint_eq(counts->other, 1);
    ck_assert_uint_eq(counts->large, 1);
    ck_assert_uint_eq(counts->binary, 2);
    ck_assert_uint_eq(counts->empty, 1);
    ck_assert_uint_eq(counts->duplicates, 1);
    ck_assert_uint_eq(counts->unreadable, 0);
    index_destroy(index);
}

CASE(index_ranks_the_manual_first)
{
    struct index *index = tree_index();
    struct findings findings;
    const struct passage *best = &findings.passages[0];

    ck_assert_int_eq(index_search(index, "How do I extract a tar archive?", 4, &findings), 0);
    ck_assert_uint_ge(findings.count, 2);
    ck_assert_str_eq(best->title, "tar - an archiving utility");
    ck_assert_str_eq(best->file, tree_path("man/tar.1.gz"));
    ck_assert_str_eq(best->heading, "EXAMPLES");
    ck_assert_uint_eq(best->line, 11);
    ck_assert_double_gt(best->score, 0);
    findings_finish(&findings);
    index_destroy(index);
}

static void check_found(struct index *index, const char *question, size_t expected)
{
    struct findings findings;

    ck_assert_int_eq(index_search(index, question, INDEX_RESULTS_MAX, &findings), 0);
    ck_assert_msg(findings.count == expected, "%s: %zu", question, findings.count);
    findings_finish(&findings);
}

static void check_titled(struct index *index, const char *question, const char *end)
{
    struct findings findings;
    const char *title;

    ck_assert_int_eq(index_search(index, question, 1, &findings), 0);
    ck_assert_uint_eq(findings.count, 1);
    title = findings.passages[0].title;
    ck_assert_str_eq(title + strlen(title) - strlen(end), end);
    findings_finish(&findings);
}

CASE(index_takes_any_question)
{
    struct index *index = tree_index();

    check_found(index, "", 0);
    check_found(index, "?", 0);
    check_found(index, "zebra", 0);
    check_found(index, "grüße", 1);
    check_found(index, "Café", 1);
    check_found(index, "\"server\" AND (server*", 1);
    check_found(index, "NEAR(server)) ; DROP TABLE passage; --", 1);
    check_found(index, "server 💥 \x01 ^:{}", 1);
    check_found(index, "the", 3);
    index_destroy(index);
}

CASE(index_finds_in_other_scripts)
{
    struct index *index = NULL;
    char error[256];

    write_text("wide.txt", "設定を再読み込みするには、SIGHUPを送ってください。\n\n"
                           "配置文件位于系统目录。信号会终止进程。\n");
    write_text("accents.txt", "The café résumé of İstanbul.\n");
    write_text("mark.md", "\xef\xbb\xbf# Stripes\n\nA \x1b[1mzebra\x1b[0m has them.\n");
    ck_assert_int_eq(index_create(tree, &index, error, sizeof(error)), 0);
    check_found(index, "設定を再読み込み", 1);
    check_found(index, "信号", 1);
    check_found(index, "配置文件", 1);
    check_found(index, "犬", 0);
    check_found(index, "cafe resume", 2);
    check_found(index, "istanbul", 1);
    check_titled(index, "zebra", "mark.md: Stripes");
    index_destroy(index);
    unlink(tree_path("wide.txt"));
    unlink(tree_path("accents.txt"));
    unlink(tree_path("mark.md"));
}

CASE(index_keeps_to_the_maximum)
{
    struct index *index = tree_index();
    struct findings findings;

    ck_assert_int_eq(index_search(index, "files archive", 1, &findings), 0);
    ck_assert_uint_eq(findings.count, 1);
    findings_finish(&findings);
    index_destroy(index);
}

static void check_refused(const char *paths, int status, const char *says)
{
    struct index *index = NULL;
    char error[256] = "";

    ck_assert_int_eq(index_create(paths, &index, error, sizeof(error)), status);
    ck_assert_ptr_null(index);
    ck_assert_msg(strstr(error, says) != NULL, "%s", error);
}

CASE(index_refuses_bad_paths)
{
    char paths[600];

    check_refused("", -EINVAL, "no path");
    check_refused(":::", -EINVAL, "no path");
    check_refused(tree_path("nowhere"), -ENOENT, "nowhere");
    check_refused(tree_path("picture.png/x"), -ENOTDIR, "picture.png/x");
    check_refused(tree_path("empty.txt"), -ENODATA, "nothing to index");
    snprintf(paths, sizeof(paths), "%s:/nowhere/at/all", tree);
    check_refused(paths, -ENOENT, "/nowhere/at/all");
}

CASE(index_reads_a_named_file_of_any_name)
{
    struct index *index = NULL;
    char error[256];

    ck_assert_int_eq(index_create(tree_path("picture.png"), &index, error, sizeof(error)), 0);
    check_found(index, "png", 1);
    index_destroy(index);
    index_destroy(NULL);
}

/* ---- threads ---- */

#define THREADS  8
#define SEARCHES 200

static void *search_often(void *argument)
{
    static const char *const questions[] = {"extract archive", "start the server", "cat files"};
    struct findings findings;
    size_t found = 0;

    for (size_t i = 0; i < SEARCHES; i++)
        if (index_search(argument, questions[i % 3], 3, &findings) == 0) {
            found += findings.count > 0;
            findings_finish(&findings);
        }
    return (void *)found;
}

CASE(index_is_searched_by_many_threads)
{
    struct index *index = tree_index();
    pthread_t threads[THREADS];
    void *found;

    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, search_often, index), 0);
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &found), 0);
        ck_assert_uint_eq((size_t)found, SEARCHES);
    }
    index_destroy(index);
}

/* ---- answers ---- */

CASE(answer_takes_sentences_with_their_code)
{
    struct index *index = tree_index();
    struct findings findings;
    struct answer answer;
    bool code = false;

    ck_assert_int_eq(index_search(index, "How do I extract a tar archive?", 4, &findings), 0);
    ck_assert_int_eq(answer_compose(&findings, &answer), 0);
    ck_assert(answer.direct);
    ck_assert_uint_ge(answer.count, 2);
    for (size_t i = 0; i < answer.count; i++)
        code |= strcmp(answer.parts[i].text, "To extract an archive, run:") == 0 &&
                strcmp(answer.parts[i].code, "    tar -xf archive.tar\n") == 0 &&
                answer.parts[i].line == 11;
    ck_assert(code);
    answer_finish(&answer);
    findings_finish(&findings);
    index_destroy(index);
}

static char *read_source(const char *name)
{
    char *text = calloc(1, 64 * 1024);
    gzFile file = gzopen(tree_path(name), "r");

    ck_assert_int_ge(gzread(file, text, 64 * 1024 - 1), 0);
    gzclose_r(file);
    return text;
}

static const char *line_of(const char *text, unsigned line)
{
    while (--line > 0 && (text = strchr(text, '\n')) != NULL)
        text++;
    return text;
}

CASE(answer_names_the_line_of_each_sentence)
{
    struct index *index = tree_index();
    char *source = read_source("man/tar.1.gz");
    struct findings findings;
    struct answer answer;

    ck_assert_int_eq(index_search(index, "extract files with tar", 4, &findings), 0);
    ck_assert_int_eq(answer_compose(&findings, &answer), 0);
    for (size_t i = 0; i < answer.count; i++)
        if (strncmp(answer.parts[i].text, "-x, ", 4) == 0)
            ck_assert_int_eq(strncmp(line_of(source, answer.parts[i].line), "\\-x, ", 5), 0);
    answer_finish(&answer);
    findings_finish(&findings);
    free(source);
    index_destroy(index);
}

CASE(answer_to_nothing)
{
    struct findings findings = {.count = 0};
    struct answer answer;

    ck_assert_int_eq(answer_compose(&findings, &answer), 0);
    ck_assert_uint_eq(answer.count, 0);
    ck_assert(!answer.direct);
    answer_finish(&answer);
}

/* ------------------------------------------------------------------------- */
