"""What is seen of the document. A view listens to the Session, calls its commands, and knows no other view."""
