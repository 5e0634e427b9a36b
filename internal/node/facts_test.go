package node

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// annotated returns a kshell pod with these annotations and without a deadline.
func annotated(annotations map[string]string) *corev1.Pod {
	p := Pod(testOptions())
	p.Annotations, p.Spec.ActiveDeadlineSeconds = annotations, nil
	return p
}

func TestFactsOf_Durations(t *testing.T) {
	for _, c := range []struct {
		value      string
		heartbeat  time.Duration
		ttl, waits time.Duration
	}{
		{"", 5 * time.Minute, 24 * time.Hour, 24 * time.Hour},
		{"soon", 5 * time.Minute, 24 * time.Hour, 24 * time.Hour},
		{"0s", 5 * time.Minute, 24 * time.Hour, 24 * time.Hour},
		{"-3h", 5 * time.Minute, 24 * time.Hour, 24 * time.Hour},
		{"1ns", 10 * time.Second, time.Minute, time.Second},
		{"30s", 30 * time.Second, time.Minute, 30 * time.Second},
		{"8h0m0s", 8 * time.Hour, 8 * time.Hour, 8 * time.Hour},
		{"2562047h47m16.854775807s", 7 * 24 * time.Hour, math.MaxInt32 * time.Second, 7 * 24 * time.Hour},
		{strings.Repeat("9", 100_000) + "h", 5 * time.Minute, 24 * time.Hour, 24 * time.Hour},
	} {
		p := annotated(map[string]string{
			heartbeatAnnotation: c.value, ttlAnnotation: c.value, startTimeoutAnnotation: c.value,
		})
		if got := FactsOf(p); got.HeartbeatTimeout != c.heartbeat || got.TTL != c.ttl {
			t.Errorf("%.40q: heartbeat %v, want %v; ttl %v, want %v",
				c.value, got.HeartbeatTimeout, c.heartbeat, got.TTL, c.ttl)
		}
		if got := startTimeout(p); got != c.waits {
			t.Errorf("%.40q: starts within %v, want %v", c.value, got, c.waits)
		}
	}
}

// The deadline takes precedence over the annotation: the kubelet enforces it,
// and it cannot be extended.
func TestFactsOf_TTLIsTheDeadline(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{
		3600: time.Hour, 0: time.Minute, -1: time.Minute, math.MaxInt64: math.MaxInt32 * time.Second,
	} {
		p := annotated(map[string]string{ttlAnnotation: "5m"})
		p.Spec.ActiveDeadlineSeconds = &seconds
		if got := FactsOf(p).TTL; got != want {
			t.Errorf("%d s: %v, want %v", seconds, got, want)
		}
	}
}

func TestFactsOf_Texts(t *testing.T) {
	for value, want := range map[string]string{
		"":                        "",
		" \t ":                    "",
		"ann":                     "ann",
		"Änn Ώ":                   "Änn Ώ",
		`CORP\ann`:                `CORP\ann`,
		"a\x1b[31mb\r\nc":         "a?[31mb??c",
		"a\u202eb\u200bc\u009bd":  "a?b?c?d",
		"a\xff":                   "a\uFFFD",
		strings.Repeat("é", 64):   strings.Repeat("é", 64),
		strings.Repeat("é", 9999): strings.Repeat("é", 63) + "…",
	} {
		p := annotated(map[string]string{createdByAnnotation: value, createdFromAnnotation: value})
		if got := FactsOf(p); got.CreatedBy != want || got.CreatedFrom != want {
			t.Errorf("%.40q: by %q, from %q, want %q", value, got.CreatedBy, got.CreatedFrom, want)
		}
	}
}

func TestFacts_ClaimsCreator(t *testing.T) {
	for name, c := range map[string]struct {
		by, from string
		want     bool
	}{
		"the same":       {"ann", "laptop", true},
		"another user":   {"bob", "laptop", false},
		"another host":   {"ann", "desktop", false},
		"no user":        {"", "laptop", false},
		"no host":        {"ann", "", false},
		"a control code": {"ann\x1b", "laptop", false},
		"with blanks":    {" ann ", "laptop", true},
	} {
		f := FactsOf(annotated(map[string]string{createdByAnnotation: c.by, createdFromAnnotation: c.from}))
		if got := f.ClaimsCreator("ann", "laptop"); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	unknown := FactsOf(annotated(nil))
	if unknown.ClaimsCreator("", "") || unknown.ClaimsCreator("ann", "laptop") {
		t.Error("a pod without annotations has a creator")
	}
	long := strings.Repeat("long", 100)
	f := FactsOf(annotated(map[string]string{createdByAnnotation: long, createdFromAnnotation: long}))
	if !f.ClaimsCreator(long, long) {
		t.Error("a long name, shortened, does not match itself")
	}
}

// Edited annotations must not make node-shell delete a pod that is running.
func TestLeftover_EditedAnnotations(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, value := range []string{"1ns", "0s", "-1h", "1m", "2562047h47m16.854775807s", "x"} {
		p := Pod(testOptions())
		p.Annotations = map[string]string{ttlAnnotation: value, startTimeoutAnnotation: value}
		p.CreationTimestamp, p.Status.Phase = metav1.NewTime(now.Add(-time.Hour)), corev1.PodRunning
		if why := Leftover(p, now); why != "" {
			t.Errorf("%q: a running pod %s", value, why)
		}
	}
	p := Pod(testOptions())
	p.Status.Phase = corev1.PodRunning
	if why := Leftover(p, now); why != "" {
		t.Errorf("a running pod of unknown age %s", why)
	}
}

func FuzzFactsOf(f *testing.F) {
	for _, seed := range []string{
		"", "0s", "-1s", "1ns", "5m0s", "2562047h47m16.854775807s", "ann", "\x1b[2J", "\u202e", "\xff\xfe",
		"9999999999999999999h",
	} {
		f.Add(seed, seed, seed, int64(len(seed)), len(seed)%2 == 0)
	}
	f.Fuzz(func(t *testing.T, by, heartbeat, ttl string, deadline int64, limited bool) {
		p := annotated(map[string]string{
			createdByAnnotation: by, createdFromAnnotation: by,
			heartbeatAnnotation: heartbeat, startTimeoutAnnotation: heartbeat,
			ttlAnnotation: ttl, kindAnnotation: ttl,
		})
		if limited {
			p.Spec.ActiveDeadlineSeconds = &deadline
		}
		got := FactsOf(p)
		timeout := got.HeartbeatTimeout
		if timeout < MinHeartbeat || timeout > 7*24*time.Hour || HeartbeatInterval(timeout) < time.Second {
			t.Errorf("heartbeat %v", timeout)
		}
		if got.TTL < time.Minute || got.TTL > math.MaxInt32*time.Second {
			t.Errorf("ttl %v", got.TTL)
		}
		if n := utf8.RuneCountInString(got.CreatedBy); n > 64 || !utf8.ValidString(got.CreatedBy) {
			t.Errorf("%d characters: %q", n, got.CreatedBy)
		}
		if strings.ContainsFunc(got.CreatedBy, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("not printable: %q", got.CreatedBy)
		}
		p.CreationTimestamp, p.Status.Phase = metav1.Now(), corev1.PodRunning
		if why := Leftover(p, time.Now()); why != "" {
			t.Errorf("a new pod %s", why)
		}
	})
}
