using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Providers;

/// <summary>The kinds of values of a key of the configuration.</summary>
[Experimental(ExperimentalId.Providers)]
public enum RmaOptionKind
{
    /// <summary>A whole number.</summary>
    Integer = 0,

    /// <summary>A number of bytes, as a number or with a unit: <c>65536</c>, <c>"64 KiB"</c>.</summary>
    Size = 1,

    /// <summary>A time, such as <c>"00:00:30"</c>, <c>"500 ms"</c>, <c>"never"</c>.</summary>
    Duration = 2,

    /// <summary><c>true</c> or <c>false</c>.</summary>
    Flag = 3,

    /// <summary>One of several names; see <see cref="RmaOptionKey.Choices"/>.</summary>
    Choice = 4,

    /// <summary>One or more of several names, separated by commas.</summary>
    Choices = 5,

    /// <summary>Any text.</summary>
    Text = 6,

    /// <summary>A section with keys of its own; see <see cref="RmaOptionKey.Keys"/>.</summary>
    Section = 7,

    /// <summary>A list of sections.</summary>
    List = 8,

    /// <summary>A map from arbitrary names to strings.</summary>
    Map = 9,
}
