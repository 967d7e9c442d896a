"""What a process tells about itself: log lines; metrics come here too."""
