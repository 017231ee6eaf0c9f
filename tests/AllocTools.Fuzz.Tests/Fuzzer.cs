using System.Globalization;
using System.IO.MemoryMappedFiles;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using AllocTools.Testing;

namespace AllocTools.Fuzz.Tests;

/// <summary>Reads many inputs in one form.</summary>
/// <remarks>
/// Each input is placed before a page that may not be touched, and is kept in a mapped file while it is read. If the
/// process dies of it, the file still has it, and the next run adds it to the corpus. Each run has its own file, which
/// is locked (flock(2)) as long as the run lives. CsCheck shortens other failing inputs; the shortest is added to the
/// corpus at once.
/// </remarks>
internal sealed partial class Fuzzer : IDisposable
{
    private const int Room = 64 << 10;

    /// <summary>Far longer than any input takes: an input that is still being read then never ends.</summary>
    private static readonly TimeSpan NoEnd = TestTime.Seconds(60);

    private readonly ByteForm _form;
    private readonly GuardedMemory _memory = new(Room);
    private readonly string _path;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _current;
    private readonly Timer _watch;
    private readonly Dictionary<string, byte[]> _outcomes = [];
    private byte[]? _failing;
    private long _seen;

    public Fuzzer(ByteForm form)
    {
        _form = form;
        KeepWhatKilled();
        _path = Path.Combine(AppContext.BaseDirectory, $"{form.Name}.{Guid.NewGuid():N}.current");
        // It shares the file with nobody.
        _file = MemoryMappedFile.CreateFromFile(_path, FileMode.CreateNew, null, sizeof(int) + Room);
        _current = _file.CreateViewAccessor();
        _watch = new Timer(_ => EndIfStuck(), null, NoEnd, NoEnd);
    }

    /// <summary>
    /// Gets how long each form is tried, as set by ALLOCTOOLS_FUZZ_SECONDS; null for the form's number of inputs.
    /// </summary>
    public static int? Seconds { get; } = Environment.GetEnvironmentVariable("ALLOCTOOLS_FUZZ_SECONDS") is { Length: > 0 } seconds
        ? int.Parse(seconds, CultureInfo.InvariantCulture)
        : null;

    /// <summary>Gets whether the shortest input of each outcome that the corpus lacks is added to it, too.</summary>
    public static bool KeepsOutcomes { get; } = Environment.GetEnvironmentVariable("ALLOCTOOLS_FUZZ_KEEP") is { Length: > 0 };

    /// <summary>Returns the folder of a form's corpus, in the source.</summary>
    public static string CorpusOf(string form) => Path.Combine(Repository.Root, "tests", "AllocTools.Fuzz.Tests", "Corpus", form);

    public long Accepted { get; private set; }

    public long Refused { get; private set; }

    /// <summary>Gets the maximum number of bytes that an input had allocated.</summary>
    public long MostAllocated { get; private set; }

    /// <summary>Gets changed and random inputs.</summary>
    public Gen<byte[]> Inputs => Gen.OneOf(
        _form.Others ?? _form.Valid,
        Gen.Select(_form.Valid, _form.Valid, Change.Any.Array[1, 6], Gen.Int[0, 2], Changed),
        Gen.Select(_form.Valid, _form.Valid, Change.Any.Array[1, 2], Gen.Int[0, 1], Changed),
        Gen.Byte.Array[0, 300].Select(Gen.Bool, (bytes, repairs) => repairs ? Repaired(bytes) : bytes));

    /// <summary>Tries random inputs.</summary>
    public void Run()
    {
        // What a form opens with its first input, such as a server, doesn't count towards the time.
        _form.Valid.Sample(Try, iter: 1, threads: 1, print: Convert.ToHexString);
        if (Seconds is { } seconds)
            Inputs.Sample(Try, time: seconds, threads: 1, print: Convert.ToHexString);
        else
            Inputs.Sample(Try, iter: _form.Inputs, threads: 1, print: Convert.ToHexString);
    }

    /// <summary>Reads one input.</summary>
    public void Try(byte[] input)
    {
        _current.WriteArray(sizeof(int), input, 0, input.Length);
        _current.Write(0, input.Length + 1);
        try
        {
            ReadOnlyMemory<byte> placed = _memory.Place(input);
            long most = _form.MostAllocated(input.Length) ?? long.MaxValue;
            string? error = Measure(placed, out double allocated);
            // The runtime allocates some objects only once, when code runs for the first time.
            if (allocated > most)
                Measure(placed, out allocated);
            if (error is null)
                Accepted++;
            else
                Refused++;
            Assert.True(error is null || (error.Length > 0 && error.Length <= _form.MostWords && !error.Any(char.IsControl)), $"The error is no line for a log: {error}");
            Note(error ?? "accepted", input);
            if (double.IsNaN(allocated))
                return;
            MostAllocated = Math.Max(MostAllocated, (long)allocated);
            Assert.True(allocated <= most, $"{input.Length} bytes had {allocated} allocated; it must be at most {most}.");
        }
        catch
        {
            if (_failing is null || input.Length < _failing.Length)
                _failing = input;
            throw;
        }
        finally
        {
            _current.Write(0, 0);
            Interlocked.Increment(ref _seen);
        }
    }

    /// <summary>Adds the shortest input of each outcome that the corpus lacks to it.</summary>
    public void KeepOutcomes()
    {
        foreach ((string outcome, byte[] input) in _outcomes)
        {
            string name = new([.. outcome.Where(static c => char.IsAsciiLetter(c) || c is ' ' or '-').Take(60)]);
            string path = Path.Combine(CorpusOf(_form.Name), name.Trim() is "" ? "other" : name.Trim().Replace(' ', '-').ToLowerInvariant());
            Directory.CreateDirectory(CorpusOf(_form.Name));
            if (!File.Exists(path))
                File.WriteAllBytes(path, input);
        }
    }

    /// <summary>Returns the results as a line.</summary>
    public override string ToString() =>
        $"{_form.Name}: {Accepted + Refused:N0} inputs, {Accepted:N0} accepted, {Refused:N0} refused"
        + (_form.MostAllocated(0) is null ? "" : $", at most {MostAllocated:N0} bytes allocated by one");

    public void Dispose()
    {
        _watch.Dispose();
        if (_failing is not null)
            Keep(_failing);
        _current.Dispose();
        File.Delete(_path);
        _file.Dispose();
        ((IDisposable)_memory).Dispose();
        _form.Dispose();
    }

    private string? Measure(ReadOnlyMemory<byte> input, out double allocated)
    {
        var allocations = new ThreadAllocations();
        allocations.Begin();
        string? error = _form.Read(input);
        allocations.End();
        allocated = allocations.BytesPerRound;
        return error;
    }

    private void Note(string outcome, byte[] input)
    {
        // Numbers, and words of the parser or of the input itself, don't make a different outcome.
        string kind = WithoutValues().Replace(outcome, "");
        if (!_outcomes.TryGetValue(kind, out byte[]? shortest) || input.Length < shortest.Length)
            _outcomes[kind] = input;
    }

    // This matches paths of options, suggestions for them, and lists of all there are; then the values.
    [GeneratedRegex("AllocTools(:[^ ]*)?|[.;]? ?[Dd]id you mean.*|[.;]? ?[Tt]he options here are.*|one (or more )?of [^.;]*|(?<!\\w|message )'[^']*'|0x[0-9A-F]+|\\b[0-9A-F]{2}\\b|-?[0-9]+|[(].*|: .*")]
    private static partial Regex WithoutValues();

    private byte[] Changed(byte[] bytes, byte[] other, Change[] changes, int repairs)
    {
        foreach (Change change in changes)
            bytes = change.Apply(bytes, other, _form.Words, _form.MostLength);
        return repairs > 0 ? Repaired(bytes) : bytes;
    }

    private byte[] Repaired(byte[] bytes)
    {
        byte[] copy = [.. bytes];
        _form.Repair(copy);
        return copy;
    }

    /// <summary>Adds the inputs of runs that have died. The file of a live run is locked.</summary>
    private void KeepWhatKilled()
    {
        foreach (string path in Directory.GetFiles(AppContext.BaseDirectory, $"{_form.Name}.*.current"))
        {
            try
            {
                using var file = new BinaryReader(new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None));
                int length = file.ReadInt32() - 1;
                if (length >= 0)
                    Keep(file.ReadBytes(length));
                File.Delete(path);
            }
            catch (Exception e) when (e is IOException)
            {
                // Another run has it, or has just deleted it.
            }
        }
    }

    private void Keep(byte[] input)
    {
        string folder = CorpusOf(_form.Name);
        Directory.CreateDirectory(folder);
        File.WriteAllBytes(Path.Combine(folder, $"found-{Convert.ToHexStringLower(SHA256.HashData(input))[..16]}"), input);
    }

    private long _seenAtLook = -1;

    private void EndIfStuck()
    {
        long seen = Interlocked.Read(ref _seen);
        if (seen == _seenAtLook && _current.ReadInt32(0) > 0)
            Environment.FailFast($"An input of the form {_form.Name} has been read for more than {NoEnd.TotalSeconds} s; the next run puts it into the corpus.");
        _seenAtLook = seen;
    }
}
