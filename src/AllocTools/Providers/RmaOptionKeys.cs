using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace AllocTools.Providers;

/// <summary>
/// The keys of a section of the configuration, each with the option that it sets. The section is bound with them
/// without reflection, and they are used to detect misspelt keys. docs/providers.md shows such a table.
/// </summary>
/// <typeparam name="TOptions">The options.</typeparam>
/// <remarks>
/// Add all keys first, in the order in which they should be listed, and only read them afterwards: then they are safe
/// to use from any thread.
/// </remarks>
[Experimental(ExperimentalId.Providers)]
public sealed class RmaOptionKeys<TOptions> : IReadOnlyList<RmaOptionKey>
    where TOptions : class
{
    private readonly List<RmaOptionKey> _keys = [];

    /// <inheritdoc/>
    public int Count => _keys.Count;

    /// <inheritdoc/>
    public RmaOptionKey this[int index] => _keys[index];

    /// <summary>Adds a key for a whole number.</summary>
    /// <param name="name">The key, which must be unique ignoring case: the option's name.</param>
    /// <param name="set">Sets the option.</param>
    /// <returns>These keys.</returns>
    /// <exception cref="ArgumentException">The name is empty, has a colon, or is already used.</exception>
    public RmaOptionKeys<TOptions> Integer(string name, Action<TOptions, int> set) =>
        Value(name, RmaOptionKind.Integer, set, static text => int.Parse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture));

    /// <summary>Adds a key for a number of bytes, which may have a unit in the configuration.</summary>
    /// <inheritdoc cref="Integer"/>
    public RmaOptionKeys<TOptions> Size(string name, Action<TOptions, long> set) =>
        Value(name, RmaOptionKind.Size, set, static text => long.Parse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture));

    /// <summary>Adds a key for a time; <c>never</c> is <see cref="Timeout.InfiniteTimeSpan"/>.</summary>
    /// <inheritdoc cref="Integer"/>
    public RmaOptionKeys<TOptions> Duration(string name, Action<TOptions, TimeSpan> set) =>
        Value(name, RmaOptionKind.Duration, set, static text => TimeSpan.ParseExact(text, "c", CultureInfo.InvariantCulture));

    /// <summary>
    /// Adds a key for a time without <c>never</c> and with a limit, so that no invalid value is suggested if a text
    /// can't be parsed.
    /// </summary>
    /// <param name="name">The key, which must be unique ignoring case: the option's name.</param>
    /// <param name="longest">The longest valid time. The options' validator checks it.</param>
    /// <param name="set">Sets the option.</param>
    /// <returns>These keys.</returns>
    /// <exception cref="ArgumentException">The name is empty, has a colon, or is already used.</exception>
    public RmaOptionKeys<TOptions> LimitedDuration(string name, TimeSpan longest, Action<TOptions, TimeSpan> set)
    {
        ArgumentNullException.ThrowIfNull(set);
        return Add(name, new RmaOptionKey(name, RmaOptionKind.Duration)
        {
            LongestTime = longest,
            HasNever = false,
            ValueSetter = (options, text) => set((TOptions)options, TimeSpan.ParseExact(text, "c", CultureInfo.InvariantCulture)),
        });
    }

    /// <summary>Adds a key for <c>true</c> or <c>false</c>.</summary>
    /// <inheritdoc cref="Integer"/>
    public RmaOptionKeys<TOptions> Flag(string name, Action<TOptions, bool> set) => Value(name, RmaOptionKind.Flag, set, bool.Parse);

    /// <summary>Adds a key for any text.</summary>
    /// <inheritdoc cref="Integer"/>
    public RmaOptionKeys<TOptions> Text(string name, Action<TOptions, string> set) => Value(name, RmaOptionKind.Text, set, static text => text);

    /// <summary>Adds a key for one name of an enumeration, or several separated by commas if it has the <see cref="FlagsAttribute"/>.</summary>
    /// <typeparam name="TEnum">The enumeration.</typeparam>
    /// <inheritdoc cref="Integer"/>
    public RmaOptionKeys<TOptions> Choice<TEnum>(string name, Action<TOptions, TEnum> set)
        where TEnum : struct, Enum
    {
        ArgumentNullException.ThrowIfNull(set);
        RmaOptionKind kind = typeof(TEnum).IsDefined(typeof(FlagsAttribute), inherit: false) ? RmaOptionKind.Choices : RmaOptionKind.Choice;
        return Add(name, new RmaOptionKey(name, kind)
        {
            Choices = Enum.GetNames<TEnum>(),
            ValueSetter = (options, text) => set((TOptions)options, Enum.Parse<TEnum>(text)),
        });
    }

    /// <summary>Adds a key that has keys below it.</summary>
    /// <typeparam name="TSection">The options that the keys set.</typeparam>
    /// <param name="name">The key.</param>
    /// <param name="open">Returns the options for the keys below, and creates them if there are none.</param>
    /// <param name="keys">The keys below.</param>
    /// <returns>These keys.</returns>
    /// <exception cref="ArgumentException">The name is empty, has a colon, or is already used.</exception>
    public RmaOptionKeys<TOptions> Section<TSection>(string name, Func<TOptions, TSection> open, RmaOptionKeys<TSection> keys)
        where TSection : class => AddWithKeys(name, RmaOptionKind.Section, open, keys);

    /// <summary>Adds a key for a list of objects with keys.</summary>
    /// <typeparam name="TEntry">The options of an entry.</typeparam>
    /// <param name="name">The key.</param>
    /// <param name="add">Adds an entry to the options' list, and returns it.</param>
    /// <param name="keys">The keys of each entry.</param>
    /// <returns>These keys.</returns>
    /// <exception cref="ArgumentException">The name is empty, has a colon, or is already used.</exception>
    public RmaOptionKeys<TOptions> List<TEntry>(string name, Func<TOptions, TEntry> add, RmaOptionKeys<TEntry> keys)
        where TEntry : class => AddWithKeys(name, RmaOptionKind.List, add, keys);

    /// <summary>Adds a key for an object of names and strings.</summary>
    /// <param name="name">The key.</param>
    /// <param name="set">Sets one entry, given the options, the entry's name and its text.</param>
    /// <returns>These keys.</returns>
    /// <exception cref="ArgumentException">The name is empty, has a colon, or is already used.</exception>
    public RmaOptionKeys<TOptions> Map(string name, Action<TOptions, string, string> set)
    {
        ArgumentNullException.ThrowIfNull(set);
        return Add(name, new RmaOptionKey(name, RmaOptionKind.Map) { EntrySetter = (options, key, value) => set((TOptions)options, key, value) });
    }

    /// <inheritdoc/>
    public IEnumerator<RmaOptionKey> GetEnumerator() => _keys.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private RmaOptionKeys<TOptions> Value<T>(string name, RmaOptionKind kind, Action<TOptions, T> set, Func<string, T> parse)
    {
        ArgumentNullException.ThrowIfNull(set);
        return Add(name, new RmaOptionKey(name, kind) { ValueSetter = (options, text) => set((TOptions)options, parse(text)) });
    }

    private RmaOptionKeys<TOptions> AddWithKeys<TBelow>(string name, RmaOptionKind kind, Func<TOptions, TBelow> open, RmaOptionKeys<TBelow> keys)
        where TBelow : class
    {
        ArgumentNullException.ThrowIfNull(open);
        ArgumentNullException.ThrowIfNull(keys);
        return Add(name, new RmaOptionKey(name, kind) { Keys = keys, Opener = options => open((TOptions)options) });
    }

    private RmaOptionKeys<TOptions> Add(string name, RmaOptionKey key)
    {
        if (_keys.Exists(k => k.Name.Equals(name, StringComparison.OrdinalIgnoreCase)))
            throw new ArgumentException($"There is a key '{name}' already.", nameof(name));
        _keys.Add(key);
        return this;
    }
}
