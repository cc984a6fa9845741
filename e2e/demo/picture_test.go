package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"hostguard/e2e/rig/engine"
)

// pictured opens the picture that the demo has made, in a headless Chromium, and checks that
// it opens with the answer.
func pictured(t *testing.T) {
	t.Helper()
	checkout, err := engine.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	var answer string
	if err := chromedp.Run(ctx, chromedp.Navigate("file://"+filepath.Join(checkout, ".cache/demo.html")),
		chromedp.Text("#timeline .answer", &answer, chromedp.NodeVisible)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer, "wooo/site-") || !strings.Contains(answer, "pressure") {
		t.Errorf("the picture's answer is %q", answer)
	}
}
