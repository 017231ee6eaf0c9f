using AllocTools.Hosting.Configuration;
using AllocTools.Providers;
using AllocTools.Validation;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>All that the code says of a key of the configuration.</summary>
/// <param name="Path">Below the pool's section; <c>0</c> stands for the index of any entry of a list.</param>
/// <param name="Key">The key.</param>
/// <param name="Rule">Its range; null where there is none.</param>
/// <param name="Default">Its default, as it may stand in a file; null: none.</param>
/// <param name="IsLive">It may change while the pool is in use.</param>
/// <param name="Summary">What it does, without unit, range and default.</param>
/// <param name="Below">The keys below it.</param>
internal sealed record ReferenceKey(
    string Path, RmaOptionKey Key, OptionAttribute? Rule, string? Default, bool IsLive, string Summary, IReadOnlyList<ReferenceKey> Below)
{
    /// <summary>Itself, then all below it.</summary>
    public IEnumerable<ReferenceKey> All => [this, .. Below.SelectMany(k => k.All)];
}
