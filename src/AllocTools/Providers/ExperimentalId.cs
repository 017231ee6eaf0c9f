namespace AllocTools.Providers;

/// <summary>The diagnostics that the compiler gives to code that uses what may still change.</summary>
internal static class ExperimentalId
{
    /// <summary>What the authors of providers use: docs/providers.md.</summary>
    public const string Providers = "ALLOCTOOLS001";
}
