using AllocTools.Hosting.Configuration;
using AllocTools.Providers;
using AllocTools.Validation;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>Everything that the code says about a key of the configuration.</summary>
/// <param name="Path">The path below the pool's section; <c>0</c> stands for the index of any entry of a list.</param>
/// <param name="Key">The key.</param>
/// <param name="Rule">Its range; null if it has none.</param>
/// <param name="Default">Its default, as it may be written in a file; null if it has none.</param>
/// <param name="IsLive">Whether it may change while the pool is in use.</param>
/// <param name="Summary">What it does, without unit, range and default.</param>
/// <param name="Below">The keys below it.</param>
internal sealed record ReferenceKey(
    string Path, RmaOptionKey Key, OptionAttribute? Rule, string? Default, bool IsLive, string Summary, IReadOnlyList<ReferenceKey> Below)
{
    /// <summary>Gets the key itself, then all keys below it.</summary>
    public IEnumerable<ReferenceKey> All => [this, .. Below.SelectMany(k => k.All)];
}
