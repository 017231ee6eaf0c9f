using AllocTools.Blocks;
using Microsoft.Extensions.Options;

namespace AllocTools;

/// <summary>The rules of <see cref="RmaMemoryPoolOptions"/>: each option's range and what must hold between them. All failures at once.</summary>
public sealed class RmaMemoryPoolOptionsValidator : IValidateOptions<RmaMemoryPoolOptions>
{
    private const int MaxSizeClasses = 256;
    private const int BlockSizeMultiple = 64;
    private static readonly TimeSpan ShortestTrimInterval = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan LongestTimeout = TimeSpan.FromHours(24);

    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, RmaMemoryPoolOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        List<string> failures = [];
        CheckRange(failures, nameof(options.MaxRegisteredBytes), options.MaxRegisteredBytes, 4096, 1L << 60, "bytes");
        CheckRange(failures, nameof(options.MaxSlabBytes), options.MaxSlabBytes, 65536, 1L << 34, "bytes");
        CheckRange(failures, nameof(options.MaxIdleDirectBytes), options.MaxIdleDirectBytes, 0, 1L << 60, "bytes");
        CheckTimeout(failures, nameof(options.RentTimeout), options.RentTimeout, infiniteAllowed: true);
        CheckTimeout(failures, nameof(options.DrainTimeout), options.DrainTimeout, infiniteAllowed: false);
        CheckTimeout(failures, nameof(options.IdleRetention), options.IdleRetention, infiniteAllowed: true);
        if (options.TrimInterval != Timeout.InfiniteTimeSpan && (options.TrimInterval < ShortestTrimInterval || options.TrimInterval > LongestTimeout))
            failures.Add($"{nameof(options.TrimInterval)} is {options.TrimInterval}; it is {ShortestTrimInterval} to {LongestTimeout.TotalHours} hours, or -00:00:00.001 for never.");
        if ((options.Access & ~(RmaAccess.Local | RmaAccess.RemoteRead | RmaAccess.RemoteWrite)) != 0)
            failures.Add($"{nameof(options.Access)} is {options.Access}; it is a combination of Local, RemoteRead and RemoteWrite.");
        if (!Enum.IsDefined(options.Isolation))
            failures.Add($"{nameof(options.Isolation)} is {options.Isolation}; it is Shared or PerExposure.");
        if (!Enum.IsDefined(options.LeakDetection))
            failures.Add($"{nameof(options.LeakDetection)} is {options.LeakDetection}; it is Off, Sampled or All.");
        if (options.ClearOnReturn && options.PoisonOnReturn)
            failures.Add($"{nameof(options.ClearOnReturn)} and {nameof(options.PoisonOnReturn)} are both true; returned memory is filled with one or the other.");
        if (!Enum.IsDefined(options.HugePages))
            failures.Add($"{nameof(options.HugePages)} is {options.HugePages}; it is Transparent, Off or Explicit.");
        if (options.NumaNode is { } node && node is < -1 or >= NumaNodes.MostNodes)
            failures.Add($"{nameof(options.NumaNode)} is {node}; it is 0 to {NumaNodes.MostNodes - 1}, or -1 for none in particular.");
        if (CheckSizeClassRange(failures, options))
            CheckSizeClasses(failures, options);
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    internal static void ThrowIfInvalid(string name, RmaMemoryPoolOptions options)
    {
        ValidateOptionsResult result = new RmaMemoryPoolOptionsValidator().Validate(name, options);
        if (result.Failed)
            throw new OptionsValidationException(name, typeof(RmaMemoryPoolOptions), result.Failures);
    }

    /// <summary>False where no classes can be made of it.</summary>
    private static bool CheckSizeClassRange(List<string> failures, RmaMemoryPoolOptions options)
    {
        if (options.SizeClassRange is not { } range)
            return true;
        int before = failures.Count;
        string path = nameof(options.SizeClassRange);
        if (options.SizeClasses.Count != 0)
            failures.Add($"{nameof(options.SizeClasses)} has {options.SizeClasses.Count} entries and {path} is set; size classes come from one of them.");
        CheckRange(failures, $"{path}:{nameof(range.From)}", range.From, BlockSizeMultiple, 1L << 30, "bytes");
        if (range.From % BlockSizeMultiple != 0)
            failures.Add($"{path}:{nameof(range.From)} is {range.From}; it is a multiple of {BlockSizeMultiple} bytes.");
        CheckRange(failures, $"{path}:{nameof(range.To)}", range.To, range.From, 1L << 30, "bytes");
        CheckRange(failures, $"{path}:{nameof(range.StepsPerDoubling)}", range.StepsPerDoubling, 1, 8, "steps");
        return failures.Count == before;
    }

    private static void CheckSizeClasses(List<string> failures, RmaMemoryPoolOptions options)
    {
        IReadOnlyList<SizeClassOptions> classes = RmaMemoryPoolDefaults.SizeClassesOf(options);
        if (classes.Count > MaxSizeClasses)
            failures.Add($"{nameof(options.SizeClasses)} has {classes.Count} entries; at most {MaxSizeClasses} are possible.");
        // The defaults that no longer fit a small cap are grown on demand; what was asked for must fit.
        bool isDefault = RmaMemoryPoolDefaults.AreDefault(options);
        long previous = 0;
        long initialBytes = 0;
        for (int i = 0; i < classes.Count; i++)
        {
            SizeClassOptions sizeClass = classes[i];
            string path = $"{nameof(options.SizeClasses)}:{i}";
            CheckRange(failures, $"{path}:{nameof(sizeClass.BlockSize)}", sizeClass.BlockSize, BlockSizeMultiple, 1L << 30, "bytes");
            CheckRange(failures, $"{path}:{nameof(sizeClass.InitialBlocks)}", sizeClass.InitialBlocks, 0, 1 << 24, "blocks");
            if (sizeClass.BlockSize % BlockSizeMultiple != 0)
                failures.Add($"{path}:{nameof(sizeClass.BlockSize)} is {sizeClass.BlockSize}; it is a multiple of {BlockSizeMultiple} bytes.");
            if (sizeClass.BlockSize <= previous)
                failures.Add($"{path}:{nameof(sizeClass.BlockSize)} is {sizeClass.BlockSize}, after {previous}; size classes ascend, each size once.");
            if (!isDefault && sizeClass.BlockSize > options.MaxRegisteredBytes)
                failures.Add($"{path}:{nameof(sizeClass.BlockSize)} is {sizeClass.BlockSize}, more than {nameof(options.MaxRegisteredBytes)}, {options.MaxRegisteredBytes}; not one block fits.");
            previous = sizeClass.BlockSize;
            initialBytes += Math.Max(0, sizeClass.BlockSize) * Math.Max(0, sizeClass.InitialBlocks);
        }
        if (!isDefault && initialBytes > options.MaxRegisteredBytes)
            failures.Add($"{nameof(options.SizeClasses)} ask for {initialBytes} bytes at start, more than {nameof(options.MaxRegisteredBytes)}, {options.MaxRegisteredBytes}. Raise it or lower InitialBlocks.");
    }

    private static void CheckRange(List<string> failures, string option, long value, long least, long most, string unit)
    {
        if (value < least || value > most)
            failures.Add($"{option} is {value}; it is {least} to {most} {unit}.");
    }

    private static void CheckTimeout(List<string> failures, string option, TimeSpan value, bool infiniteAllowed)
    {
        if (infiniteAllowed && value == Timeout.InfiniteTimeSpan)
            return;
        if (value < TimeSpan.Zero || value > LongestTimeout)
            failures.Add($"{option} is {value}; it is 0 to {LongestTimeout.TotalHours} hours{(infiniteAllowed ? ", or -00:00:00.001 for no limit" : "")}.");
    }
}
