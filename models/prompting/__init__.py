"""From chats and instructions to token sequences, and from the language model back to text and features."""
