package node

import (
	"crypto/rand"
	"strings"
)

// A pod's name is its host name too, and a label's value: 63 characters.
const (
	maxName   = 63
	namedSo   = "node-shell-"
	suffixLen = 6
)

// Name is a new name for a pod on a node: as much of the node's name as there is room for, and 6 random characters.
func Name(node string) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789" // no words, and nothing that looks like something else
	suffix := make([]byte, suffixLen)
	_, _ = rand.Read(suffix) // never fails
	for i := range suffix {
		suffix[i] = letters[int(suffix[i])%len(letters)]
	}
	return name(node, string(suffix))
}

func name(node, suffix string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '-'
	}, node)
	plain = plain[:min(len(plain), maxName-len(namedSo)-1-len(suffix))]
	if plain = strings.Trim(plain, "-"); plain == "" {
		return namedSo + suffix
	}
	return namedSo + plain + "-" + suffix
}
