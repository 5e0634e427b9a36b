// Package script shrinks the shell scripts that kshell runs in containers, and
// quotes words for shells.
//
// It imports no other package of kshell, and every package may import it.
package script

import "strings"

// Shrink returns a shell script without its comment lines, empty lines and the
// tabs that indent its lines. It does not parse the script, so a string that
// spans lines is shrunk, too.
func Shrink(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line = strings.TrimLeft(line, "\t")
		if line != "\n" && !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// isSpecial reports whether a shell may treat c specially.
func isSpecial(c rune) bool {
	plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("@%+=:,./_-", c)
	return !plain
}

// Quote returns word as a POSIX shell reads it: unchanged if it has only
// characters that are not special in a shell, otherwise in single quotes.
func Quote(word string) string {
	if word != "" && strings.IndexFunc(word, isSpecial) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// QuoteAll quotes each of the words, and joins them with spaces.
func QuoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}
