package terminal

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAppendUTF8(t *testing.T) {
	tests := []struct {
		name  string
		reads [][]uint16
		want  string
	}{
		{"ascii and Ctrl-Z", [][]uint16{{'a', 0x1a, 'b'}}, "a\x1ab"},
		{"surrogate pair in one read", [][]uint16{{0xd83d, 0xde00}}, "😀"},
		{"surrogate pair in two reads", [][]uint16{{'a', 0xd83d}, {0xde00, 'b'}}, "a😀b"},
		{"high surrogate alone", [][]uint16{{0xd83d}, {'b'}}, "\ufffdb"},
		{"low surrogate alone", [][]uint16{{0xde00, 'b'}}, "\ufffdb"},
		{"two high surrogates", [][]uint16{{0xd83d, 0xd83d}, {0xde00}}, "\ufffd😀"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var text []byte
			var half uint16
			for _, units := range tt.reads {
				text, half = appendUTF8(text, half, units)
			}
			if diff := cmp.Diff(tt.want, string(text)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}
