namespace AllocTools;

/// <summary>Names of pools.</summary>
public static class RmaMemoryPoolName
{
    /// <summary>The name of the unnamed pool in logs, metrics and errors.</summary>
    public const string Default = "default";
}
