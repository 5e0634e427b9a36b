package node

import (
	"crypto/rand"
	"strings"
)

const (
	maxName    = 63 // the limit of a host name and of a label's value
	namePrefix = "node-shell-"
	suffixLen  = 6
)

// Name returns a new name for a pod: it consists of a prefix, as much of the
// node's name as fits, and 6 random characters.
func Name(node string) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789" // no vowels, so that no words appear, and no look-alikes
	suffix := make([]byte, suffixLen)
	_, _ = rand.Read(suffix) // never fails
	for i := range suffix {
		suffix[i] = letters[int(suffix[i])%len(letters)]
	}
	return podName(node, string(suffix))
}

func podName(node, suffix string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '-'
	}, node)
	plain = plain[:min(len(plain), maxName-len(namePrefix)-1-len(suffix))]
	if plain = strings.Trim(plain, "-"); plain == "" {
		return namePrefix + suffix
	}
	return namePrefix + plain + "-" + suffix
}
