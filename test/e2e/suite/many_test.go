package suite

import (
	"testing"

	"kshell/test/contract"
)

func TestManyPods(t *testing.T) { onEach(t, contract.Many) }
