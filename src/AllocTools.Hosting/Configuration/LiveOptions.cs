using System.Globalization;
using AllocTools.Validation;

namespace AllocTools.Hosting.Configuration;

/// <summary>The options that a pool can apply while it is in use.</summary>
internal static class LiveOptions
{
    private static readonly (string Name, Func<RmaMemoryPoolOptions, object> Value)[] All =
    [
        (nameof(RmaMemoryPoolOptions.MaxRegisteredBytes), o => o.MaxRegisteredBytes),
        (nameof(RmaMemoryPoolOptions.IdleRetention), o => o.IdleRetention),
        (nameof(RmaMemoryPoolOptions.TrimInterval), o => o.TrimInterval),
        (nameof(RmaMemoryPoolOptions.RentTimeout), o => o.RentTimeout),
        (nameof(RmaMemoryPoolOptions.DrainTimeout), o => o.DrainTimeout),
        (nameof(RmaMemoryPoolOptions.LeakDetection), o => o.LeakDetection),
    ];

    /// <summary>The names of these options, and of the key that only determines how the section is read.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. All.Select(o => o.Name), OptionKeys.AllowUnknownKeys];

    /// <summary>Describes the differences, such as <c>MaxRegisteredBytes from 65536 to 131072</c>.</summary>
    public static IEnumerable<string> Changes(RmaMemoryPoolOptions before, RmaMemoryPoolOptions after) =>
        from option in All
        where !option.Value(before).Equals(option.Value(after))
        select $"{option.Name} from {InText(option.Value(before))} to {InText(option.Value(after))}";

    private static string InText(object value) => value is long bytes ? InWords.Size(bytes) : string.Create(CultureInfo.InvariantCulture, $"{value}");
}
