using AllocTools.Fuzz.Tests.Forms;

namespace AllocTools.Fuzz.Tests;

/// <summary>
/// Tests each form in which bytes arrive from outside: valid values are read back, and others give the right value or
/// one clear error, without reading or allocating a byte too many.
/// </summary>
public sealed class FormTests(ITestOutputHelper output)
{
    /// <summary>Gets all forms, or only the one that ALLOCTOOLS_FUZZ_FORM names.</summary>
    public static TheoryData<string> Forms => [.. AllForms.Makers.Keys.Where(static name => Environment.GetEnvironmentVariable("ALLOCTOOLS_FUZZ_FORM") is not { Length: > 0 } one || one == name)];

    [Theory, MemberData(nameof(Forms))]
    public void ValidValuesAreAccepted(string name)
    {
        ByteForm form = AllForms.Makers[name]();
        using var fuzzer = new Fuzzer(form);
        form.Valid.Sample(fuzzer.Try, iter: 500, threads: 1, print: Convert.ToHexString);
        Assert.Equal(0, fuzzer.Refused);
    }

    [Theory, MemberData(nameof(Forms))]
    public void OtherBytesGiveTheRightValueOrOneClearError(string name)
    {
        using var fuzzer = new Fuzzer(AllForms.Makers[name]());
        fuzzer.Run();
        output.WriteLine(fuzzer.ToString());
        if (Fuzzer.KeepsOutcomes)
            fuzzer.KeepOutcomes();
        Assert.NotEqual(0, fuzzer.Refused);
        Assert.NotEqual(0, fuzzer.Accepted);
    }

    [Theory, MemberData(nameof(Forms))]
    public void WhatWasFoundBeforeStaysMended(string name)
    {
        using var fuzzer = new Fuzzer(AllForms.Makers[name]());
        string[] files = Directory.GetFiles(Fuzzer.CorpusOf(name));
        Assert.NotEmpty(files);
        foreach (string file in files)
            fuzzer.Try(File.ReadAllBytes(file));
    }
}
