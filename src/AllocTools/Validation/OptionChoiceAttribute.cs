namespace AllocTools.Validation;

/// <summary>One of the names of an enumeration, or any combination of them if it is an enumeration of flags.</summary>
/// <param name="type">The enumeration, whose underlying type is <see cref="int"/>.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OptionChoiceAttribute(Type type) : OptionAttribute
{
    /// <summary>The names.</summary>
    public IReadOnlyList<string> Names => Enum.GetNames(type);

    /// <summary>Whether combinations of the names are valid, too.</summary>
    public bool IsFlags => type.IsDefined(typeof(FlagsAttribute), inherit: false);

    /// <inheritdoc/>
    public override string Range => $"{(IsFlags ? "one or more" : "one")} of {string.Join(", ", Names)}";

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
