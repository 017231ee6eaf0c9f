namespace AllocTools.Hosting.Configuration;

/// <summary>A key of the configuration.</summary>
/// <param name="Name">As it stands in the file, in whatever case.</param>
/// <param name="Kind">What it holds.</param>
internal sealed record OptionKey(string Name, OptionKind Kind)
{
    /// <summary>The names of a choice.</summary>
    public IReadOnlyList<string> Choices { get; init; } = [];

    /// <summary>What is below a section, or below each entry of a list.</summary>
    public IReadOnlyList<OptionKey> Keys { get; init; } = [];

    public static OptionKey Of<TEnum>(string name, OptionKind kind)
        where TEnum : struct, Enum => new(name, kind) { Choices = Enum.GetNames<TEnum>() };
}
