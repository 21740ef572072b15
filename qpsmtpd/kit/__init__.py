"""What many plugins share. Each file stands alone and knows no plugin and no session."""
