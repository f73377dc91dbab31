"""The paper's data pipeline: video to instances, frame pairs, dynamics in words, and interleaved samples."""

from .samples import Forgotten, Part, Picture, Sample, Text, is_said, mentions, said_in
from .shards import ShardError, read_index, read_shard, stream, write_samples
from .tasks import TASKS, generate_samples, refine_video, sample_at

__all__ = [
    "TASKS",
    "Forgotten",
    "Part",
    "Picture",
    "Sample",
    "ShardError",
    "Text",
    "generate_samples",
    "is_said",
    "mentions",
    "read_index",
    "read_shard",
    "refine_video",
    "said_in",
    "sample_at",
    "stream",
    "write_samples",
]
