package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"kshell/internal/terminal"
)

// The rules of everything that kshell itself says:
//
//   - It goes to stderr, a line at a time, after "kshell: ", in lower case, without a final period.
//   - "hint: " lines say what to type next.
//   - What a server, a file or an argument says is cleaned: no control character of theirs reaches the terminal, and nothing
//     longer than 2,000 characters.
//   - No URL is printed with its user info or its query.
//   - While the terminal is raw a line ends in CR LF. A line of kshell's never follows remote text on the same line.
//   - Errors are always said; notes and warnings not with -q; details only with -v and without -q.
//   - A command's own exit code is not commented on: it is the command's to say.

// hintPrefix is before what to type next.
const hintPrefix = "hint: "

// maxWords bounds one message, in characters.
const maxWords = 2000

// maxRead is how much of a message is read, in bytes. URLs are shortened first,
// then the message is cut to maxWords.
const maxRead = 32 << 10

// notice is the one writer of kshell's own words. Its methods may be called from any goroutine.
type notice struct {
	quiet     bool
	verbosity int

	name string // of the pod that it is about, where there are several; else empty

	mu     sync.Mutex
	w      io.Writer
	raw    bool
	screen *terminal.Screen // what the remote has written on the terminal that ours share; nil if it is not shared
}

func newNotice(w io.Writer) *notice { return &notice{w: w} }

// setScreen tells the notice that the terminal is raw from now on, and that the
// remote writes to it as well. It has no effect if the messages go to a file.
func (n *notice) setScreen(s *terminal.Screen) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !intoFile(n.w) {
		n.raw, n.screen = true, s
	}
}

// intoFile reports whether w is a regular file, which needs no CRs.
func intoFile(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// setCooked tells the notice that the terminal is restored.
func (n *notice) setCooked() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.raw = false
}

// line writes one line. Errors are ignored: there is nowhere to report them.
func (n *notice) line(prefix, words string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	end := "\n"
	if n.raw {
		end = "\r\n"
	}
	if n.name != "" && prefix != hintPrefix {
		prefix += n.name + ": "
	}
	line := prefix + clean(words) + end
	if n.screen != nil && n.screen.EndLine() {
		line = end + line
	}
	_, _ = io.WriteString(n.w, line)
}

// say prints a note, which -q hides.
func (n *notice) say(format string, args ...any) {
	if !n.quiet {
		n.line("kshell: ", fmt.Sprintf(format, args...))
	}
}

// caution prints a warning that -q hides.
func (n *notice) caution(format string, args ...any) {
	if !n.quiet {
		n.warn(format, args...)
	}
}

// warn prints a warning about something that failed without ending the program.
// It is printed even with -q.
func (n *notice) warn(format string, args ...any) {
	n.line("kshell: warning: ", fmt.Sprintf(format, args...))
}

// hint prints what to type about the preceding warning.
func (n *notice) hint(format string, args ...any) {
	n.line(hintPrefix, fmt.Sprintf(format, args...))
}

// detail prints a line with -v.
func (n *notice) detail(format string, args ...any) {
	if n.verbosity > 0 && !n.quiet {
		n.line("kshell: ", fmt.Sprintf(format, args...))
	}
}

// details takes the log lines of the libraries.
func (n *notice) details() io.Writer { return detailWriter{n} }

type detailWriter struct{ *notice }

func (d detailWriter) Write(p []byte) (int, error) {
	d.detail("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// fail says err and its hint, unless it is one of those that speak for themselves.
func (n *notice) fail(err error) {
	if silent(err) {
		return
	}
	n.line("kshell: ", err.Error())
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		for hint := range strings.Lines(h.Hint()) {
			n.line(hintPrefix, hint)
		}
	}
}

// hinted adds to an error what to type about it.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }
func (e *hinted) Hint() string  { return e.hint }

// clean makes one line of words that may come from anywhere: white space becomes a space, other control and format characters
// (escape sequences, text direction) are shown as escapes, and an excess is cut.
func clean(words string) string {
	words = words[:min(len(words), maxRead)]
	words = withoutSecrets(strings.TrimSpace(strings.ToValidUTF8(words, "\uFFFD")))
	var b strings.Builder
	for _, r := range words {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return cut(b.String())
}

// withoutSecrets removes user info and query from the URLs in words. User info
// may hold a password; a query may hold a token, or, in a server's message
// about a failed exec, the whole script of kshell.
func withoutSecrets(words string) string {
	var b strings.Builder
	for {
		head, rest, found := strings.Cut(words, "://")
		b.WriteString(head)
		if !found {
			return b.String()
		}
		end := endOfURL(head, rest)
		b.WriteString("://" + publicURL(rest[:end]))
		words = rest[end:]
	}
}

// endOfURL returns where a URL ends in rest, which follows head and "://": at
// the closing quotation mark if there is one before the scheme, else at a space
// or a quotation mark.
func endOfURL(head, rest string) int {
	before := strings.TrimRightFunc(head, func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("+-.", r)
	})
	if before != "" && strings.IndexByte("\"'`", before[len(before)-1]) >= 0 {
		for i := 0; i < len(rest); i++ {
			switch rest[i] {
			case '\\':
				i++ // an escaped character does not end the URL
			case before[len(before)-1]:
				return i
			}
		}
	}
	if end := strings.IndexAny(rest, " \t\r\n\"'`"); end >= 0 {
		rest = rest[:end]
	}
	return len(strings.TrimRight(rest, ",.;:)>")) // the punctuation of the sentence
}

// authority matches a host and port without user info (RFC 3986, 3.2).
var authority = regexp.MustCompile(`^([^:@\[\]]*|\[[^@\[\]]*\])(:[0-9]*)?$`)

// publicURL returns a URL, from after its "://", without user info and query.
// User info that is not escaped properly may contain any character: in that
// case everything before the last @ is removed or, without an @, everything.
func publicURL(url string) string {
	host := url
	if i := strings.IndexAny(url, "/?#"); i >= 0 {
		host = url[:i]
	}
	if !authority.MatchString(host) {
		i := strings.LastIndexByte(url, '@')
		if i < 0 {
			return "…"
		}
		url = url[i+1:]
	}
	path, _, asks := strings.Cut(url, "?")
	if asks {
		path += "?…"
	}
	return path
}

// cut keeps the first maxWords characters.
func cut(words string) string {
	if utf8.RuneCountInString(words) <= maxWords {
		return words
	}
	return string([]rune(words)[:maxWords]) + "…"
}

func quoted(s string) string { return strconv.Quote(s) }
