using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools;

/// <summary>
/// The rules of <see cref="RmaMemoryPoolOptions"/>: the range of each option, from its attribute, and the rules between
/// options. All failures are reported at once.
/// </summary>
public sealed class RmaMemoryPoolOptionsValidator : IValidateOptions<RmaMemoryPoolOptions>
{
    private const int MaxSizeClasses = 256;

    private readonly Func<SystemLimits> _limits;

    /// <summary>Creates a validator that reads the limits of this system.</summary>
    public RmaMemoryPoolOptionsValidator()
        : this(SystemLimits.Read)
    {
    }

    internal RmaMemoryPoolOptionsValidator(Func<SystemLimits> limits) => _limits = limits;

    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, RmaMemoryPoolOptions options) => Validate(options, traits: null);

    /// <summary>Like the overload without traits, and also checks the memory that an opened provider pins.</summary>
    /// <param name="options">The options.</param>
    /// <param name="traits">The traits of the provider; null: it is not opened yet.</param>
    public ValidateOptionsResult Validate(RmaMemoryPoolOptions options, RmaProviderTraits? traits)
    {
        ArgumentNullException.ThrowIfNull(options);
        List<string> failures = [.. new RmaMemoryPoolOptionsRanges().Validate(name: null, options).Failures ?? []];
        if (options.SizeClasses.Contains(null!))
            return ValidateOptionsResult.Fail([.. failures, $"{nameof(options.SizeClasses)} has an entry that is null; each entry must be set."]);
        if (options.ClearOnReturn && options.PoisonOnReturn)
            failures.Add($"{nameof(options.ClearOnReturn)} and {nameof(options.PoisonOnReturn)} are both true; they must not both be.");
        bool hasClasses = CheckSizeClassRange(failures, options);
        if (hasClasses)
            CheckSizeClasses(failures, options);
        failures.AddRange(SystemRules.Failures(options, traits, _limits(), hasClasses));
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    internal static void ThrowIfInvalid(string name, RmaMemoryPoolOptions options, RmaProviderTraits traits)
    {
        ValidateOptionsResult result = new RmaMemoryPoolOptionsValidator().Validate(options, traits);
        if (result.Failed)
            throw new OptionsValidationException(name, typeof(RmaMemoryPoolOptions), result.Failures);
    }

    /// <summary>Checks the range; returns false if no classes can be made of it.</summary>
    private static bool CheckSizeClassRange(List<string> failures, RmaMemoryPoolOptions options)
    {
        if (options.SizeClassRange is not { } range)
            return true;
        string path = nameof(options.SizeClassRange);
        bool usable = new SizeClassRangeOptionsRanges().Validate(name: null, range).Succeeded;
        if (options.SizeClasses.Count != 0)
            failures.Add($"{nameof(options.SizeClasses)} has {InWords.Count(options.SizeClasses.Count, "entry", "entries")} and {path} is set; they must not both be used.");
        if (range.To < range.From)
            failures.Add($"{path}:{nameof(range.To)} ({InWords.Bytes(range.To)}) must not be less than {path}:{nameof(range.From)} ({InWords.Bytes(range.From)}).");
        return usable && range.To >= range.From && options.SizeClasses.Count == 0;
    }

    private static void CheckSizeClasses(List<string> failures, RmaMemoryPoolOptions options)
    {
        IReadOnlyList<SizeClassOptions> classes = RmaMemoryPoolDefaults.SizeClassesOf(options);
        if (classes.Count > MaxSizeClasses)
            failures.Add($"{nameof(options.SizeClasses)} has {classes.Count} entries; it must have at most {MaxSizeClasses}.");
        // Default classes that don't fit below a small cap grow on demand; configured classes must fit.
        bool isDefault = RmaMemoryPoolDefaults.AreDefault(options);
        string cap = $"{nameof(options.MaxRegisteredBytes)} ({InWords.Bytes(options.MaxRegisteredBytes)})";
        long previous = 0;
        Int128 initialBytes = 0;
        for (int i = 0; i < classes.Count; i++)
        {
            SizeClassOptions sizeClass = classes[i];
            string path = $"{nameof(options.SizeClasses)}:{i}:{nameof(sizeClass.BlockSize)}";
            // A block size outside its range has already been reported, and may stand for one that could not be read.
            if (i > 0 && sizeClass.BlockSize > 0 && sizeClass.BlockSize <= previous)
                failures.Add($"{path} ({InWords.Bytes(sizeClass.BlockSize)}) must be more than the one before it ({InWords.Bytes(previous)}).");
            if (!isDefault && sizeClass.BlockSize > options.MaxRegisteredBytes)
                failures.Add($"{path} ({InWords.Bytes(sizeClass.BlockSize)}) must not be more than {cap}: not one block would fit.");
            previous = sizeClass.BlockSize;
            initialBytes += (Int128)Math.Max(0, sizeClass.BlockSize) * Math.Max(0, sizeClass.InitialBlocks);
        }
        if (!isDefault && initialBytes > Math.Max(0, options.MaxRegisteredBytes))
            failures.Add($"{nameof(options.SizeClasses)} has InitialBlocks of {InWords.Bytes(initialBytes)} in all, which must not be more than {cap}. Raise the cap, or lower InitialBlocks.");
    }
}

/// <summary>The ranges of <see cref="RmaMemoryPoolOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class RmaMemoryPoolOptionsRanges : IValidateOptions<RmaMemoryPoolOptions>;

/// <summary>The ranges of <see cref="SizeClassOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class SizeClassOptionsRanges : IValidateOptions<SizeClassOptions>;

/// <summary>The ranges of <see cref="SizeClassRangeOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class SizeClassRangeOptionsRanges : IValidateOptions<SizeClassRangeOptions>;
