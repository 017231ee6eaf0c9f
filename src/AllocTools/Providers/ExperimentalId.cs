namespace AllocTools.Providers;

/// <summary>The compiler diagnostics for code that uses APIs which may still change.</summary>
internal static class ExperimentalId
{
    /// <summary>The APIs for authors of providers; see docs/providers.md.</summary>
    public const string Providers = "ALLOCTOOLS001";
}
