using System.Globalization;
using AllocTools.Libfabric.Interop;
using AllocTools.Testing;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>What a provider demands of registrations (fi_mr(3), fi_domain(3)), and the width of its keys in bytes.</summary>
internal sealed record FakeMode(int MrMode, int KeySize)
{
    public const int RawKeySize = 24;

    private static readonly (int Bit, string Name)[] Names =
    [
        (FiMrMode.FI_MR_LOCAL, "local"),
        (FiMrMode.FI_MR_VIRT_ADDR, "virtual"),
        (FiMrMode.FI_MR_ALLOCATED, "allocated"),
        (FiMrMode.FI_MR_PROV_KEY, "provider-key"),
        (FiMrMode.FI_MR_ENDPOINT, "endpoint"),
        (FiMrMode.FI_MR_RAW, "raw"),
    ];

    /// <summary>Gets the mode that libfabric's <c>efa</c>, <c>cxi</c>, <c>verbs</c>, <c>ucx</c> and <c>tcp</c> ask for.</summary>
    public static FakeMode Efa => new(FiMrMode.FI_MR_LOCAL | FiMrMode.FI_MR_VIRT_ADDR | FiMrMode.FI_MR_ALLOCATED | FiMrMode.FI_MR_PROV_KEY, 4);

    public static FakeMode Cxi => new(FiMrMode.FI_MR_ENDPOINT | FiMrMode.FI_MR_ALLOCATED, 4);

    public static FakeMode Ucx => new(FiMrMode.FI_MR_RAW | FiMrMode.FI_MR_VIRT_ADDR | FiMrMode.FI_MR_PROV_KEY | FiMrMode.FI_MR_ALLOCATED, RawKeySize);

    public static FakeMode Tcp => new(0, 8);

    public bool Is(int bit) => (MrMode & bit) != 0;

    /// <summary>Returns each combination of the bits, with each key width that it may have.</summary>
    public static IEnumerable<FakeMode> All()
    {
        int[] bits = [.. Names.Select(n => n.Bit)];
        for (int mix = 0; mix < 1 << bits.Length; mix++)
        {
            int mode = bits.Where((_, i) => (mix & (1 << i)) != 0).Sum();
            if ((mode & FiMrMode.FI_MR_RAW) != 0)
            {
                yield return new FakeMode(mode, RawKeySize);
                continue;
            }
            for (int size = 1; size <= 8; size++)
                yield return new FakeMode(mode, size);
        }
    }

    /// <summary>
    /// Gets the modes that tests run in: all of them, or enough to cover each combination of any three settings.
    /// </summary>
    public static IReadOnlyList<FakeMode> ToTest { get; } = TestExtent.IsFull ? [.. All()] : CoverTriples();

    public static FakeMode Parse(string text)
    {
        string[] words = text.Split(' ');
        int mode = Names.Where(n => words.Contains(n.Name)).Sum(n => n.Bit);
        return new FakeMode(mode, int.Parse(words[0], CultureInfo.InvariantCulture));
    }

    /// <summary>Returns the width, and the names of the bits.</summary>
    public override string ToString() => string.Join(' ', new[] { KeySize.ToString(CultureInfo.InvariantCulture) }.Concat(Names.Where(n => Is(n.Bit)).Select(n => n.Name)));

    /// <summary>
    /// Returns a covering array of strength 3: repeatedly adds the mode that covers most of the remaining triples.
    /// </summary>
    private static List<FakeMode> CoverTriples()
    {
        List<(FakeMode Mode, HashSet<string> Triples)> left = [.. All().Select(m => (m, m.Triples().ToHashSet()))];
        HashSet<string> open = [.. left.SelectMany(static l => l.Triples)];
        List<FakeMode> taken = [];
        while (open.Count > 0)
        {
            (FakeMode mode, HashSet<string> triples) = left.MaxBy(l => l.Triples.Count(open.Contains));
            taken.Add(mode);
            open.ExceptWith(triples);
        }
        return taken;
    }

    private IEnumerable<string> Triples()
    {
        string[] settings = [$"{KeySize}", .. Names.Select(n => $"{n.Name} {Is(n.Bit)}")];
        for (int i = 0; i < settings.Length; i++)
        {
            for (int j = i + 1; j < settings.Length; j++)
            {
                for (int k = j + 1; k < settings.Length; k++)
                    yield return $"{settings[i]}, {settings[j]}, {settings[k]}";
            }
        }
    }
}
