namespace AllocTools;

/// <summary>
/// How many rents are watched for buffers that are never returned. Each watched rent captures its stack, which takes
/// some tens of microseconds.
/// </summary>
public enum RmaLeakDetection
{
    /// <summary>None.</summary>
    Off = 0,

    /// <summary>One in 128 rents of each thread is watched.</summary>
    Sampled = 1,

    /// <summary>All rents are watched; meant for tests.</summary>
    All = 2,
}
