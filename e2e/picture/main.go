// Command picture takes the README's pictures of the page: of the jobs that the demo has run
// last, in a headless Chromium.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"hostguard/e2e/rig/engine"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run() error {
	checkout, err := engine.Checkout()
	if err != nil {
		return err
	}
	page := filepath.Join(checkout, ".cache/demo.html")
	if _, err := os.Stat(page); err != nil {
		return fmt.Errorf("%w: run make demo", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1280, 800))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	for _, theme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme},
		})
		var png []byte
		if err := chromedp.Run(ctx, media, chromedp.Navigate("file://"+page+"#timeline"),
			chromedp.WaitVisible("#timeline .answer"), chromedp.FullScreenshot(&png, 100)); err != nil {
			return fmt.Errorf("open %s: %w", page, err)
		}
		if err := os.WriteFile(filepath.Join(checkout, "docs/timeline-"+theme+".png"), png, 0o644); err != nil {
			return err
		}
	}
	return nil
}
