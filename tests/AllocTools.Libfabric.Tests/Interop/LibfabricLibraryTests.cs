using AllocTools.Libfabric.Interop;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Interop;

public sealed unsafe class LibfabricLibraryTests
{
    [Theory]
    [InlineData("/nonexistent/libfabric.so.1")]
    [InlineData("libfabric-that-nobody-has.so")]
    public void A_missing_library_is_a_reason_that_names_the_package(string path)
    {
        Assert.Null(LibfabricLibrary.TryLoad(path, out string reason));
        Assert.Contains(path, reason, StringComparison.Ordinal);
        Assert.Contains("apt-get install libfabric1", reason, StringComparison.Ordinal);
        Assert.Contains("dnf install libfabric", reason, StringComparison.Ordinal);
        Assert.Contains("brew install libfabric", reason, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', reason);
    }

    [Fact]
    public void A_file_that_is_no_library_is_a_reason()
    {
        string path = Path.GetTempFileName();
        try
        {
            Assert.Null(LibfabricLibrary.TryLoad(path, out string reason));
            Assert.Contains("is not a library that can be loaded here", reason, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Another_library_is_a_reason_that_names_the_missing_function()
    {
        string other = OperatingSystem.IsWindows() ? "kernel32.dll" : OperatingSystem.IsMacOS() ? "libSystem.dylib" : "libc.so.6";
        Assert.Null(LibfabricLibrary.TryLoad(other, out string reason));
        Assert.Contains("has no function fi_version", reason, StringComparison.Ordinal);
    }

    [Fact]
    public void The_installed_library_is_supported()
    {
        Assert.True(LibfabricLibrary.IsSupported, LibfabricLibrary.NotSupportedReason);
        Assert.Null(LibfabricLibrary.NotSupportedReason);
        Assert.True(Installed.Library.Version >= new Version(1, 14));
    }

    [Fact]
    public void Loading_leaves_the_runtime_its_signals()
    {
        // This would end the process if a library that libfabric is linked with had taken over SIGSEGV.
        Installed.Library.FreeInfo(Installed.TcpInfo());
        string[] nothing = [null!];
        Assert.Throws<NullReferenceException>(() => nothing[0].Length);
    }

    [Fact]
    public void GetInfo_finds_tcp_and_its_strings_are_readable()
    {
        LibfabricLibrary library = Installed.Library;
        for (int round = 0; round < 20; round++)
        {
            fi_info* list = Installed.TcpInfo();
            Assert.True(list != null);
            for (fi_info* info = list; info != null; info = info->next)
            {
                Assert.Equal("tcp;ofi_rxm", Installed.Text(info->fabric_attr->prov_name));
                Assert.NotEmpty(Installed.Text(info->fabric_attr->name)!);
                Assert.NotEmpty(Installed.Text(info->domain_attr->name)!);
                Assert.Equal(fi_ep_type.FI_EP_RDM, info->ep_attr->type);
                Assert.True(info->ep_attr->max_msg_size > 0);
                Assert.NotEqual(0UL, info->caps & FiCaps.FI_RMA);
                Assert.Equal(FiVersion.Api, info->fabric_attr->api_version);
                fi_info* copy = library.DupInfo(info);
                Assert.Equal("tcp;ofi_rxm", Installed.Text(copy->fabric_attr->prov_name));
                library.FreeInfo(copy);
            }

            library.FreeInfo(list);
        }
    }

    [Fact]
    public void GetInfo_passes_strings_on_and_gives_no_list_on_failure()
    {
        LibfabricLibrary library = Installed.Library;
        fi_info* hints = library.DupInfo(null);
        fixed (byte* name = "no-such-provider\0"u8)
        {
            hints->fabric_attr->prov_name = name;
            int status = library.GetInfo(FiVersion.Api, "127.0.0.1", "47000", 0, hints, out fi_info* list);
            hints->fabric_attr->prov_name = null;
            Assert.Equal(-FiErrno.FI_ENODATA, status);
            Assert.True(list == null);
        }

        Assert.Equal(0, library.GetInfo(FiVersion.Api, "127.0.0.1", "47000", 0, hints, out fi_info* found));
        library.FreeInfo(found);
        library.FreeInfo(hints);
        library.FreeInfo(null);
    }

    [Fact]
    public void Words_for_errors_take_either_sign()
    {
        string words = Installed.Library.StrError(-FiErrno.FI_ENOKEY);
        Assert.NotEmpty(words);
        Assert.Equal(words, Installed.Library.StrError(FiErrno.FI_ENOKEY));
    }

    [Fact]
    public void A_library_of_1_13_is_too_old_and_one_of_1_14_is_not()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("alloctools-fake-");
        try
        {
            string old = CompileFake(folder, 13);
            Assert.Null(LibfabricLibrary.TryLoad(old, out string reason));
            Assert.StartsWith($"{old} is libfabric 1.13, and 1.14 or later is needed; ", reason, StringComparison.Ordinal);

            LibfabricLibrary? library = LibfabricLibrary.TryLoad(CompileFake(folder, 14), out reason);
            Assert.Equal("", reason);
            Assert.Equal(new Version(1, 14), library!.Version);
            Assert.Equal("error 38", library.StrError(-38));
            Assert.Equal(-FiErrno.FI_ENODATA, library.GetInfo(FiVersion.Api, "n\u00f6de", null, 0, null, out fi_info* info));
            Assert.True(info == null);
            Assert.Equal(-FiErrno.FI_EINVAL, library.GetInfo(FiVersion.Api, "node", null, 0, null, out _));
            Assert.Equal(-FiErrno.FI_EOTHER, library.OpenFabric(null, out FabricHandle? fabric));
            Assert.Null(fabric);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>Compiles a library whose calls succeed without returning anything.</summary>
    private static string CompileFake(DirectoryInfo folder, int minor)
    {
        string source = Path.Combine(folder.FullName, "fake.c");
        string library = Path.Combine(folder.FullName, $"libfake{minor}.so");
        File.WriteAllText(source, $$"""
            #include <stdio.h>
            #include <string.h>
            #include <rdma/fabric.h>
            static char text[64];
            uint32_t fi_version(void) { return FI_VERSION(1, {{minor}}); }
            int fi_getinfo(uint32_t v, const char *n, const char *s, uint64_t f, const struct fi_info *h, struct fi_info **i)
            { return strcmp(n, "n\303\266de") || s ? -FI_EINVAL : 0; }
            void fi_freeinfo(struct fi_info *i) { }
            struct fi_info *fi_dupinfo(const struct fi_info *i) { return 0; }
            int fi_fabric(struct fi_fabric_attr *a, struct fid_fabric **f, void *c) { return 0; }
            const char *fi_strerror(int e) { sprintf(text, "error %d", e); return text; }
            """);
        NativeLayout.Execute("cc", "-shared", "-fPIC", "-o", library, source);
        return library;
    }
}
