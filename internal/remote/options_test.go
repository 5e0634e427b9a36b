package remote

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/outcome"
	"kshell/internal/stream"
)

func TestOptionsPlainProtocols(t *testing.T) {
	for _, tt := range []struct {
		name  string
		offer []string
		ends  bool
		want  []string
	}{
		{"all", stream.Protocols(), false, stream.Protocols()},
		{"all, with input that ends", stream.Protocols(), true, []string{stream.V5}},
		{"chosen", []string{stream.Channel, stream.V5}, false, []string{stream.Channel, stream.V5}},
		{"chosen, with input that ends", []string{stream.V4, stream.V5}, true, []string{stream.V5}},
	} {
		o := Options{Protocols: tt.offer, InputEnds: tt.ends}
		got, err := o.plainProtocols()
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v, protocols (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

func TestOptionsPlainProtocols_NoneCanEnd(t *testing.T) {
	o := Options{Protocols: []string{stream.V4, stream.Channel}, InputEnds: true}
	_, err := o.plainProtocols()
	want := errorText{
		"v4.channel.k8s.io, channel.k8s.io cannot tell the command that its input has ended: it would wait forever",
		"offer v5.channel.k8s.io too, or omit -i",
	}
	if diff := cmp.Diff(want, errorTextOf(err)); diff != "" {
		t.Errorf("message and hint (-want +got):\n%s", diff)
	}
	if got := outcome.Classify(err).ExitCode; got != outcome.ExitFailed {
		t.Errorf("exit code %d, want %d", got, outcome.ExitFailed)
	}
}

func TestOptionsOfferExact(t *testing.T) {
	all := stream.Protocols()
	for _, tt := range []struct {
		name         string
		chosen, bulk bool
		protocols    []string
		rest         []string
	}{
		{"without input, or with short input", false, false, all[1:], all},
		{"with other input", false, true, all, nil},
		{"chosen", true, false, all, nil},
	} {
		o := Options{Protocols: all, ProtocolsChosen: tt.chosen}
		got := o.offerExact(stream.Request{Path: "/exec"}, tt.bulk)
		want := stream.Request{Path: "/exec", Protocols: tt.protocols, Rest: tt.rest}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
