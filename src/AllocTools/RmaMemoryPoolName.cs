namespace AllocTools;

/// <summary>Names of pools.</summary>
public static class RmaMemoryPoolName
{
    /// <summary>What the pool without a name is called in logs, metrics and errors.</summary>
    public const string Default = "default";
}
