namespace AllocTools;

/// <summary>How many rents are watched for buffers that are never returned. Each watched rent captures its stack, some tens of microseconds.</summary>
public enum RmaLeakDetection
{
    /// <summary>None.</summary>
    Off = 0,

    /// <summary>One in 128 of each thread's.</summary>
    Sampled = 1,

    /// <summary>All; for tests.</summary>
    All = 2,
}
