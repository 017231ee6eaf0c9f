namespace AllocTools.Validation;

/// <summary>One of the names of an enumeration; where it is one of flags, any of them together.</summary>
/// <param name="type">The enumeration, with <see cref="int"/> below it.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OptionChoiceAttribute(Type type) : OptionAttribute
{
    /// <summary>The names.</summary>
    public IReadOnlyList<string> Names => Enum.GetNames(type);

    /// <summary>Some of the names together are right, too.</summary>
    public bool IsFlags => type.IsDefined(typeof(FlagsAttribute), inherit: false);

    /// <inheritdoc/>
    public override string Range => $"{(IsFlags ? "some" : "one")} of {string.Join(", ", Names)}";

    /// <inheritdoc/>
    protected override string Rule => Range;

    /// <inheritdoc/>
    protected override bool Holds(object value)
    {
        if (!IsFlags)
            return Enum.IsDefined(type, value);
        int known = 0;
        foreach (int flag in Enum.GetValuesAsUnderlyingType(type))
            known |= flag;
        return ((int)value & ~known) == 0;
    }
}
