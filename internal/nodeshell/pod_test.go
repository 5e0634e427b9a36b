package nodeshell

import (
	"strings"
	"testing"

	"kshell/internal/notice"
	"kshell/internal/pod"
)

func TestExplainStart_Image(t *testing.T) {
	for reason, hint := range map[string]bool{
		"InvalidImageName": true, "ErrImageNeverPull": true, "ErrImagePull": true, "ImagePullBackOff": true,
		"CreateContainerError": false,
	} {
		err := explainStart(&pod.NotRunningError{Reason: reason})
		if got := strings.Contains(notice.HintOf(err), "--image"); got != hint {
			t.Errorf("%s: %v", reason, err)
		}
	}
}
