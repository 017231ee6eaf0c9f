using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using AllocTools.Validation;

namespace AllocTools.Providers;

/// <summary>A key of the configuration: its name, what it holds, and how its value gets into the options.</summary>
/// <remarks>Made by <see cref="RmaOptionKeys{TOptions}"/>. Safe to use from any thread.</remarks>
[Experimental(ExperimentalId.Providers)]
public sealed class RmaOptionKey
{
    internal RmaOptionKey(string name, RmaOptionKind kind)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        if (name.Contains(':', StringComparison.Ordinal))
            throw new ArgumentException($"'{name}' is no name of a key: a colon separates keys.", nameof(name));
        Name = name;
        Kind = kind;
    }

    /// <summary>The key as it stands in a file, in whatever case.</summary>
    public string Name { get; }

    /// <summary>What it holds.</summary>
    public RmaOptionKind Kind { get; }

    /// <summary>The names of a choice; else empty.</summary>
    public IReadOnlyList<string> Choices { get; internal init; } = [];

    /// <summary>What is below a section, or below each entry of a list; else empty.</summary>
    public IReadOnlyList<RmaOptionKey> Keys { get; internal init; } = [];

    /// <summary>Of a time: the longest that a binder suggests where it can't read one. 24 hours, unless the key says less.</summary>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public TimeSpan LongestTime { get; internal init; } = TimeSpan.FromMilliseconds(OptionTimeRangeAttribute.Day);

    /// <summary>Of a time: <c>never</c> may be suggested.</summary>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public bool HasNever { get; internal init; } = true;

    internal Action<object, string>? ValueSetter { get; init; }

    internal Action<object, string, string>? EntrySetter { get; init; }

    internal Func<object, object>? Opener { get; init; }

    /// <summary>Sets the option of a key that holds one value. For binders.</summary>
    /// <param name="options">The options that the key is of.</param>
    /// <param name="value">
    /// The value in one spelling for each kind: whole numbers and sizes in digits, times as <c>c</c> formats them,
    /// <c>true</c> or <c>false</c>, the declared names of choices with <c>", "</c> between.
    /// </param>
    /// <exception cref="InvalidOperationException">The key holds more than one value.</exception>
    /// <exception cref="FormatException">The value is not spelled so.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public void Set(object options, string value) => (ValueSetter ?? throw Unfit())(options, value);

    /// <summary>Sets one entry of a <see cref="RmaOptionKind.Map"/>. For binders.</summary>
    /// <param name="options">The options that the key is of.</param>
    /// <param name="name">The entry's name.</param>
    /// <param name="value">Its text.</param>
    /// <exception cref="InvalidOperationException">The key is no map.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public void Set(object options, string name, string value) => (EntrySetter ?? throw Unfit())(options, name, value);

    /// <summary>
    /// Gives the options that the keys below belong to: those of a section, or those of one more entry of a list. For binders.
    /// </summary>
    /// <param name="options">The options that the key is of.</param>
    /// <exception cref="InvalidOperationException">The key has none below it.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public object Open(object options) => (Opener ?? throw Unfit())(options);

    private InvalidOperationException Unfit() => new($"The key {Name} is a {Kind}, which is set otherwise.");
}
