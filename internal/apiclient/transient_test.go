package apiclient

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestIsTransient(t *testing.T) {
	status := func(code int32) error {
		return fmt.Errorf("x: %w", &apierrors.StatusError{ErrStatus: metav1.Status{Code: code}})
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errors.New("connection reset"), true},
		{&TimeoutError{}, true},
		{&TooLargeError{}, false},
		{status(403), false},
		{status(404), false},
		{status(429), true},
		{status(499), false},
		{status(500), true},
		{status(503), true},
	} {
		if got := IsTransient(c.err); got != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
}
