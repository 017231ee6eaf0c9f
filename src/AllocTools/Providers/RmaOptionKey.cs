using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using AllocTools.Validation;

namespace AllocTools.Providers;

/// <summary>A key of the configuration: its name, its kind, and how its value is set in the options.</summary>
/// <remarks>It is created by <see cref="RmaOptionKeys{TOptions}"/>, and is safe to use from any thread.</remarks>
[Experimental(ExperimentalId.Providers)]
public sealed class RmaOptionKey
{
    internal RmaOptionKey(string name, RmaOptionKind kind)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        if (name.Contains(':', StringComparison.Ordinal))
            throw new ArgumentException($"'{name}' is not a valid name of a key: it must not contain a colon, which separates keys.", nameof(name));
        Name = name;
        Kind = kind;
    }

    /// <summary>The key as it is written in a file; case is ignored.</summary>
    public string Name { get; }

    /// <summary>The kind of the key's value.</summary>
    public RmaOptionKind Kind { get; }

    /// <summary>The names of a choice; otherwise empty.</summary>
    public IReadOnlyList<string> Choices { get; internal init; } = [];

    /// <summary>The keys below a section, or below each entry of a list; otherwise empty.</summary>
    public IReadOnlyList<RmaOptionKey> Keys { get; internal init; } = [];

    /// <summary>
    /// For a time: the longest value that a binder suggests if it can't parse the text. It is 24 hours, unless the key
    /// has a lower limit.
    /// </summary>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public TimeSpan LongestTime { get; internal init; } = TimeSpan.FromMilliseconds(OptionTimeRangeAttribute.Day);

    /// <summary>For a time: whether <c>never</c> may be suggested.</summary>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public bool HasNever { get; internal init; } = true;

    internal Action<object, string>? ValueSetter { get; init; }

    internal Action<object, string, string>? EntrySetter { get; init; }

    internal Func<object, object>? Opener { get; init; }

    /// <summary>Sets the option of a key that has one value. Binders call this.</summary>
    /// <param name="options">The options that the key belongs to.</param>
    /// <param name="value">
    /// The value in the normal spelling of its kind: whole numbers and sizes in digits, times as <c>c</c> formats
    /// them, <c>true</c> or <c>false</c>, the declared names of choices separated by <c>", "</c>.
    /// </param>
    /// <exception cref="InvalidOperationException">The key has more than one value.</exception>
    /// <exception cref="FormatException">The value does not have that spelling.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public void Set(object options, string value) => (ValueSetter ?? throw Unfit())(options, value);

    /// <summary>Sets one entry of a <see cref="RmaOptionKind.Map"/>. Binders call this.</summary>
    /// <param name="options">The options that the key belongs to.</param>
    /// <param name="name">The entry's name.</param>
    /// <param name="value">The entry's text.</param>
    /// <exception cref="InvalidOperationException">The key is not a map.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public void Set(object options, string name, string value) => (EntrySetter ?? throw Unfit())(options, name, value);

    /// <summary>
    /// Returns the options that the keys below belong to: those of a section, or those of a new entry of a list. Binders call this.
    /// </summary>
    /// <param name="options">The options that the key belongs to.</param>
    /// <exception cref="InvalidOperationException">The key has no keys below it.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public object Open(object options) => (Opener ?? throw Unfit())(options);

    private InvalidOperationException Unfit() => new($"The key {Name} is a {Kind}, which this method can't set.");
}
